// Fills a cluster with messages, groups and offsets, and lists what it holds; run as a single-file program by 'exchange'.
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentSkipListSet;
import java.util.zip.CRC32;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.admin.OffsetWrapper;
import org.apache.rocketmq.remoting.protocol.route.BrokerData;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

public final class Exchange {
    static final String PLAIN = "exchange-plain";
    static final String WIDE = "exchange-wide";
    static final String DELAYED = "exchange-delayed";
    static final String TIMED = "exchange-timed";
    static final String BOUND = "exchange-bound";
    static final String GROUP = "exchange-group";
    static final List<String> TOPICS = List.of(PLAIN, WIDE, DELAYED, TIMED, BOUND, "%RETRY%" + GROUP, "%DLQ%" + GROUP);
    /** Of a round's 12 half messages: four committed by their sender, two when the broker asks. */
    static final int COMMITTED = 6;
    static final int MESSAGES = 300;

    static String nameserver;
    static DefaultMQAdminExt admin;

    static String broker() throws Exception {
        while (true) {
            BrokerData broker = admin.examineBrokerClusterInfo().getBrokerAddrTable().get("broker-a");
            if (broker != null) {
                return broker.selectBrokerAddr();
            }
            Thread.sleep(50);
        }
    }

    static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    /** One round of writing; 'round' makes its keys its own. Ends with delayed messages that are due only after it. */
    static void write(String round) throws Exception {
        String broker = broker();
        admin.createAndUpdateTopicConfig(broker, new TopicConfig(PLAIN, 2, 2));
        admin.createAndUpdateTopicConfig(broker, new TopicConfig(WIDE, 5, 8));
        admin.createAndUpdateTopicConfig(broker, new TopicConfig(DELAYED, 1, 1));
        admin.createAndUpdateTopicConfig(broker, new TopicConfig(TIMED, 1, 1));
        DefaultMQProducer producer = new DefaultMQProducer("exchange-producer");
        producer.setNamesrvAddr(nameserver);
        producer.start();
        for (int i = 0; i < MESSAGES; i++) {
            String body = "message " + i + " ".repeat(i % 50) + (i % 60 == 0 ? "compressed ".repeat(1000) : "");
            Message message = new Message(i % 2 == 0 ? PLAIN : WIDE, "Tag" + i % 3, round + "-" + i + " shared", utf8(body));
            message.putUserProperty("number", "№ " + i);
            producer.send(message);
        }
        List<Message> batch = new ArrayList<>();
        for (int i = 0; i < 20; i++) {
            batch.add(new Message(PLAIN, "Batch", round + "-batch-" + i, utf8("batched " + i)));
        }
        producer.send(batch);
        consume(round);
        for (int i = 0; i < 5; i++) {
            Message message = new Message(DELAYED, "Tag", round + "-delayed-" + i, utf8("delayed " + i));
            message.setDelayTimeLevel(2);
            producer.send(message);
            Message timed = new Message(TIMED, "Tag", round + "-timed-" + i, utf8("timed " + i));
            timed.setDelayTimeMs(500 + 2500 * i);
            producer.send(timed);
        }
        producer.shutdown();
    }

    /** Half messages of a round, some of them undecided. */
    static void begin(String round) throws Exception {
        admin.createAndUpdateTopicConfig(broker(), new TopicConfig(BOUND, 1, 1));
        TransactionMQProducer bound = bound();
        for (int i = 0; i < 2 * COMMITTED; i++) {
            bound.sendMessageInTransaction(new Message(BOUND, "Tag", round + "-bound-" + i, utf8("bound " + i)), i);
        }
        bound.shutdown();
    }

    /** Every third half message is committed at once, every third rolled back; of the others, those of even number when asked. */
    static TransactionMQProducer bound() throws Exception {
        TransactionMQProducer bound = new TransactionMQProducer("exchange-bound");
        bound.setNamesrvAddr(nameserver);
        bound.setTopics(List.of(BOUND)); // only brokers on its routes can ask it
        bound.setHeartbeatBrokerInterval(1000);
        bound.setTransactionListener(new TransactionListener() {
            @Override
            public LocalTransactionState executeLocalTransaction(Message message, Object number) {
                return switch ((int) number % 3) {
                    case 0 -> LocalTransactionState.COMMIT_MESSAGE;
                    case 1 -> LocalTransactionState.ROLLBACK_MESSAGE;
                    default -> LocalTransactionState.UNKNOW;
                };
            }

            @Override
            public LocalTransactionState checkLocalTransaction(MessageExt message) {
                String key = message.getKeys();
                boolean even = Integer.parseInt(key.substring(key.lastIndexOf('-') + 1)) % 2 == 0;
                return even ? LocalTransactionState.COMMIT_MESSAGE : LocalTransactionState.ROLLBACK_MESSAGE;
            }
        });
        bound.start();
        return bound;
    }

    /** Reads the plain topic in the group until everything came; one message is refused until it is a dead letter. */
    static void consume(String round) throws Exception {
        Set<String> seen = new ConcurrentSkipListSet<>();
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(GROUP);
        consumer.setNamesrvAddr(nameserver);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setMaxReconsumeTimes(1);
        consumer.setPollNameServerInterval(1000);
        consumer.subscribe(PLAIN, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            context.setDelayLevelWhenNextConsume(1);
            boolean refuse = false;
            for (MessageExt message : messages) {
                seen.add(message.getKeys());
                refuse |= message.getKeys().startsWith(round + "-4 ");
            }
            return refuse ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        while (seen.stream().filter(key -> key.startsWith(round)).count() < MESSAGES / 2 + 20 || letters() < Integer.parseInt(round)) {
            Thread.sleep(50);
        }
        consumer.shutdown();
    }

    static long letters() {
        try {
            return count("%DLQ%" + GROUP);
        } catch (Exception absent) {
            return 0;
        }
    }

    static long count(String topic) throws Exception {
        return admin.examineTopicStats(topic).getOffsetTable().values().stream().mapToLong(o -> o.getMaxOffset() - o.getMinOffset()).sum();
    }

    static long crc(byte[] body) {
        CRC32 sum = new CRC32();
        sum.update(body);
        return sum.getValue();
    }

    static String waiting(int rounds) throws Exception {
        return "delayed " + count(DELAYED) + " and timed " + count(TIMED) + " of " + 5 * rounds + ", bound " + count(BOUND) + " of " + COMMITTED * rounds;
    }

    /** Waits until everything that was delayed or undecided in so many rounds of writing is there; once. */
    static void settle(int rounds) throws Exception {
        TransactionMQProducer bound = bound();
        long deadline = System.nanoTime() + 60_000_000_000L;
        while (true) {
            try {
                if (count(DELAYED) >= 5 * rounds && count(TIMED) >= 5 * rounds && count(BOUND) >= COMMITTED * rounds) {
                    break;
                }
            } catch (Exception notRouted) {
                Thread.sleep(50);
            }
            if (System.nanoTime() > deadline) {
                throw new IllegalStateException("after 60 s: " + waiting(rounds));
            }
            Thread.sleep(50);
        }
        // What is delivered a second time comes soon after the first.
        Thread.sleep(3000);
        bound.shutdown();
        if (count(DELAYED) != 5 * rounds || count(TIMED) != 5 * rounds || count(BOUND) != COMMITTED * rounds) {
            throw new IllegalStateException("a message came twice: " + waiting(rounds));
        }
    }

    /** Everything a client can find, in an order of its own: queues, messages, keys, ids, offsets of the group. */
    static void list(int rounds) throws Exception {
        String broker = broker();
        settle(rounds);
        var configs = new TreeMap<>(admin.getAllTopicConfig(broker, 5000).getTopicConfigTable());
        for (String topic : TOPICS) {
            TopicConfig config = configs.get(topic);
            System.out.println("topic " + topic + (config == null ? " absent" : " read " + config.getReadQueueNums() + " write " + config.getWriteQueueNums() + " perm " + config.getPerm()));
        }
        DefaultMQPullConsumer reader = new DefaultMQPullConsumer("exchange-reader");
        reader.setNamesrvAddr(nameserver);
        reader.start();
        for (String topic : TOPICS) {
            for (int id = 0; id < configs.get(topic).getReadQueueNums(); id++) {
                MessageQueue queue = new MessageQueue(topic, "broker-a", id);
                long min = reader.minOffset(queue);
                long max = reader.maxOffset(queue);
                System.out.println("queue " + topic + " " + id + " min " + min + " max " + max);
                for (long at = min; at < max; ) {
                    PullResult result = reader.pull(queue, "*", at, 32);
                    if (result.getPullStatus() != PullStatus.FOUND) {
                        throw new IllegalStateException(queue + " at " + at + ": " + result);
                    }
                    for (MessageExt message : result.getMsgFoundList()) {
                        if (message.getQueueOffset() != at++) {
                            throw new IllegalStateException(queue + ": " + message.getQueueOffset() + " where " + (at - 1) + " belongs");
                        }
                        show(message);
                    }
                }
            }
        }
        reader.shutdown();
        for (String topic : List.of(PLAIN, WIDE)) {
            var stats = admin.examineConsumeStats(GROUP, topic).getOffsetTable();
            var lines = new TreeSet<String>();
            for (var entry : stats.entrySet()) {
                OffsetWrapper offsets = entry.getValue();
                lines.add("offset " + topic + " " + entry.getKey().getQueueId() + " " + offsets.getConsumerOffset() + " of " + offsets.getBrokerOffset());
            }
            lines.forEach(System.out::println);
        }
    }

    /** A message as pulled, and whether its key, its unique id and its address find it. */
    static void show(MessageExt message) throws Exception {
        String key = message.getKeys().split(" ")[0];
        String topic = message.getTopic();
        System.out.println("message " + topic + " " + message.getQueueId() + " " + message.getQueueOffset() + " log " + message.getCommitLogOffset()
            + " size " + message.getStoreSize() + " stored " + message.getStoreTimestamp() + " key " + key + " tag " + message.getTags()
            + " body " + message.getBody().length + "/" + crc(message.getBody()) + " retried " + message.getReconsumeTimes()
            + " properties " + new TreeMap<>(message.getProperties()));
        if (message.getQueueOffset() % 10 == 0 || !topic.startsWith("exchange-")) {
            boolean keyed = admin.queryMessage(topic, key, 32, 0, Long.MAX_VALUE).getMessageList().stream()
                .anyMatch(found -> found.getCommitLogOffset() == message.getCommitLogOffset());
            boolean addressed = crc(admin.viewMessage(topic, offsetId(message)).getBody()) == crc(message.getBody());
            System.out.println("  found by key " + keyed + " by address " + addressed);
            if (!keyed || !addressed) {
                throw new IllegalStateException(message + " is not found");
            }
        }
    }

    static String offsetId(MessageExt message) {
        return MessageDecoder.createMessageId(message.getStoreHost(), message.getCommitLogOffset());
    }

    /** write NAMESERVER ROUND | begin NAMESERVER ROUND | list NAMESERVER ROUNDS */
    public static void main(String[] arguments) {
        int code = 0;
        try {
            nameserver = arguments[1];
            admin = new DefaultMQAdminExt();
            admin.setNamesrvAddr(nameserver);
            admin.start();
            switch (arguments[0]) {
                case "write" -> write(arguments[2]);
                case "begin" -> begin(arguments[2]);
                default -> list(Integer.parseInt(arguments[2]));
            }
        } catch (Throwable failure) {
            failure.printStackTrace();
            code = 1;
        }
        System.out.flush();
        System.exit(code); // the clients' threads would go on
    }
}
