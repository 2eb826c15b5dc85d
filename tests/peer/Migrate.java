// Sends and consumes without a pause while brokers change roles, and lists what brokers hold; run as a single-file program by
// 'replication'.
import com.alibaba.fastjson2.JSON;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;
import java.util.zip.CRC32;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.impl.MQClientAPIImpl;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.remoting.protocol.RequestCode;
import org.apache.rocketmq.remoting.protocol.header.UpdateConsumerOffsetRequestHeader;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

public final class Migrate {
    static final String BROKER = "broker-a";
    static final int QUEUES = 4;
    /** Every broker of RocketMQ's has it, so that looking creates no group. */
    static final String READER = "TOOLS_CONSUMER";
    /** Messages of a queue that are read at each of its ends. */
    static final int READ = 2000;

    static String nameserver;
    static DefaultMQAdminExt admin;

    static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    /** What one group has seen. */
    static final class Seen {
        final Set<String> bodies = ConcurrentHashMap.newKeySet();
        final Map<Integer, Long> last = new ConcurrentHashMap<>();
        final AtomicLong duplicates = new AtomicLong();
        final AtomicLong reordered = new AtomicLong();
        final Gap gap = new Gap();

        void take(MessageExt message) {
            gap.tick();
            String body = new String(message.getBody(), StandardCharsets.UTF_8);
            if (!bodies.add(body)) {
                duplicates.incrementAndGet();
                return;
            }
            long number = Long.parseLong(body.split("-")[1]);
            Long before = last.put(message.getQueueId(), number);
            if (before != null && number <= before) {
                reordered.incrementAndGet();
            }
        }
    }

    /** The longest time between two events. */
    static final class Gap {
        private long last;
        private long longest;

        synchronized void tick() {
            long now = System.nanoTime();
            if (last != 0) {
                longest = Math.max(longest, now - last);
            }
            last = now;
        }

        synchronized long millis() {
            return longest / 1_000_000;
        }
    }

    static DefaultMQPushConsumer consumer(String group, String topic, int poll) throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(group);
        consumer.setNamesrvAddr(nameserver);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setPollNameServerInterval(poll);
        consumer.subscribe(topic, "*");
        return consumer;
    }

    /** One sender for each queue, and two groups of consumers, until a file appears; then what came of it. */
    static int traffic(String topic, int poll, Path stop) throws Exception {
        admin.createAndUpdateTopicConfig(admin.examineBrokerClusterInfo().getBrokerAddrTable().get(BROKER).selectBrokerAddr(), new TopicConfig(topic, QUEUES, QUEUES));
        Seen concurrently = new Seen();
        Seen orderly = new Seen();
        DefaultMQPushConsumer first = consumer(topic + "-concurrent", topic, poll);
        first.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(concurrently::take);
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        DefaultMQPushConsumer second = consumer(topic + "-orderly", topic, poll);
        second.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
            messages.forEach(orderly::take);
            return ConsumeOrderlyStatus.SUCCESS;
        });
        DefaultMQProducer producer = new DefaultMQProducer(topic + "-producer");
        producer.setNamesrvAddr(nameserver);
        producer.setPollNameServerInterval(poll);
        producer.start();
        Set<String> acknowledged = ConcurrentHashMap.newKeySet();
        Map<String, Long> errors = new ConcurrentHashMap<>();
        List<Gap> gaps = new ArrayList<>();
        List<Thread> senders = new ArrayList<>();
        for (int i = 0; i < QUEUES; i++) {
            int queue = i;
            Gap gap = new Gap();
            gaps.add(gap);
            Thread sender = new Thread(() -> {
                for (long number = 0; !Files.exists(stop); number++) {
                    send(producer, topic, queue, queue + "-" + number, errors);
                    acknowledged.add(queue + "-" + number);
                    gap.tick();
                }
            });
            senders.add(sender);
            sender.start();
        }
        first.start();
        second.start();
        while (concurrently.bodies.size() < 1000 || orderly.bodies.size() < 1000) {
            Thread.sleep(10);
        }
        System.out.println("running");
        for (Thread sender : senders) {
            sender.join();
        }
        long deadline = System.nanoTime() + 90_000_000_000L;
        while (System.nanoTime() < deadline && !(concurrently.bodies.containsAll(acknowledged) && orderly.bodies.containsAll(acknowledged))) {
            Thread.sleep(50);
        }
        producer.shutdown();
        first.shutdown();
        second.shutdown();
        long lost = acknowledged.stream().filter(body -> !concurrently.bodies.contains(body) || !orderly.bodies.contains(body)).count();
        long reordered = orderly.reordered.get();
        System.out.println("acknowledged " + acknowledged.size() + " lost " + lost + " reordered " + reordered
            + " duplicates " + concurrently.duplicates + "+" + orderly.duplicates
            + " gap of a sender at most " + gaps.stream().mapToLong(Gap::millis).max().orElse(0) + " ms"
            + " of consumers " + concurrently.gap.millis() + " and " + orderly.gap.millis() + " ms (route poll " + poll + " ms)");
        new TreeMap<>(errors).forEach((error, times) -> System.out.println("  refused " + times + " times: " + error));
        return lost == 0 && reordered == 0 ? 0 : 1;
    }

    /** Sends until it is acknowledged, as often as that takes. */
    static void send(DefaultMQProducer producer, String topic, int queue, String body, Map<String, Long> errors) {
        while (true) {
            try {
                var result = producer.send(new Message(topic, utf8(body)), (queues, message, id) ->
                    queues.stream().filter(one -> one.getQueueId() == (int) id).findFirst().orElseThrow(), queue);
                if (result.getSendStatus() == SendStatus.SEND_OK) {
                    return;
                }
                errors.merge(result.getSendStatus().name(), 1L, Long::sum);
            } catch (Exception failure) {
                String text = failure.getClass().getSimpleName() + " " + String.valueOf(failure.getMessage()).split("\n")[0];
                String kind = text.replaceAll("[0-9]+", "N");
                errors.merge(kind.substring(0, Math.min(kind.length(), 100)), 1L, Long::sum);
                pause();
            }
        }
    }

    static void pause() {
        try {
            Thread.sleep(5);
        } catch (InterruptedException stopped) {
            Thread.currentThread().interrupt();
        }
    }

    static MQClientAPIImpl api() {
        return admin.getDefaultMQAdminExtImpl().getMqClientInstance().getMQClientAPIImpl();
    }

    /** Commits an offset at one broker, whoever is the master. */
    static void commit(String address, String group, String topic, int queue, long offset) throws Exception {
        UpdateConsumerOffsetRequestHeader header = new UpdateConsumerOffsetRequestHeader();
        header.setConsumerGroup(group);
        header.setTopic(topic);
        header.setQueueId(queue);
        header.setCommitOffset(offset);
        api().updateConsumerOffset(address, header, 5000);
    }

    /** Topics, groups, offsets and progress of delay levels of one broker. */
    static void metadata(String address) throws Exception {
        MQClientAPIImpl api = api();
        new TreeMap<>(api.getAllTopicConfig(address, 5000).getTopicConfigTable()).forEach((name, config) ->
            System.out.println("topic " + name + " read " + config.getReadQueueNums() + " write " + config.getWriteQueueNums() + " perm " + config.getPerm()
                + " order " + config.isOrder() + " flag " + config.getTopicSysFlag() + " " + new TreeMap<>(config.getAttributes())));
        new TreeMap<>(api.getAllSubscriptionGroup(address, 5000).getSubscriptionGroupTable()).forEach((name, config) ->
            System.out.println("group " + name + " consume " + config.isConsumeEnable() + " broadcast " + config.isConsumeBroadcastEnable()
                + " retries " + config.getRetryMaxTimes() + "/" + config.getRetryQueueNums() + " orderly " + config.isConsumeMessageOrderly()));
        table(api, RequestCode.GET_ALL_CONSUMER_OFFSET, address).forEach((key, queues) -> System.out.println("offset " + key + " " + sorted((Map<?, ?>) queues)));
        System.out.println("delay " + table(api, RequestCode.GET_ALL_DELAY_OFFSET, address));
    }

    static Map<String, Object> table(MQClientAPIImpl api, int code, String address) throws Exception {
        RemotingCommand answer = api.getRemotingClient().invokeSync(address, RemotingCommand.createRequestCommand(code, null), 5000);
        return sorted(JSON.parseObject(new String(answer.getBody(), StandardCharsets.UTF_8)).getJSONObject("offsetTable"));
    }

    /** RocketMQ writes numbers as keys, which the parser leaves numbers. */
    static Map<String, Object> sorted(Map<?, ?> object) {
        Map<String, Object> sorted = new TreeMap<>();
        object.forEach((key, value) -> sorted.put(String.valueOf(key), value));
        return sorted;
    }

    /** Every queue of the broker, with a checksum over messages at both of its ends. */
    static void messages() throws Exception {
        String broker = admin.examineBrokerClusterInfo().getBrokerAddrTable().get(BROKER).selectBrokerAddr();
        DefaultMQPullConsumer reader = new DefaultMQPullConsumer(READER);
        reader.setNamesrvAddr(nameserver);
        reader.start();
        for (TopicConfig config : new TreeMap<>(admin.getAllTopicConfig(broker, 5000).getTopicConfigTable()).values()) {
            for (int id = 0; id < Math.min(config.getReadQueueNums(), 64); id++) {
                MessageQueue queue = new MessageQueue(config.getTopicName(), BROKER, id);
                long min = reader.minOffset(queue);
                long max = reader.maxOffset(queue);
                if (max > 0) {
                    String sums = sum(reader, queue, min, Math.min(max, min + READ)) + " " + sum(reader, queue, Math.max(min, max - READ), max);
                    System.out.println("queue " + config.getTopicName() + " " + id + " min " + min + " max " + max + " sums " + sums);
                }
            }
        }
        reader.shutdown();
    }

    static long sum(DefaultMQPullConsumer reader, MessageQueue queue, long from, long to) throws Exception {
        CRC32 sum = new CRC32();
        for (long at = from; at < to; ) {
            PullResult result = reader.pull(queue, "*", at, 32);
            if (result.getPullStatus() != PullStatus.FOUND) {
                throw new IllegalStateException(queue + " at " + at + ": " + result);
            }
            for (MessageExt message : result.getMsgFoundList()) {
                sum.update(utf8(message.getQueueOffset() + " " + message.getCommitLogOffset() + " " + message.getStoreTimestamp() + " " + message.getReconsumeTimes()));
                TreeMap<String, String> properties = new TreeMap<>(message.getProperties());
                properties.remove("MIN_OFFSET");
                properties.remove("MAX_OFFSET");
                sum.update(utf8(properties.toString()));
                sum.update(message.getBody());
                at = message.getQueueOffset() + 1;
                if (at >= to) {
                    break;
                }
            }
        }
        return sum.getValue();
    }

    /**
     * traffic NAMESERVER TOPIC POLL_MS STOP_FILE | metadata NAMESERVER BROKER_ADDRESS | messages NAMESERVER
     * | commit NAMESERVER BROKER_ADDRESS GROUP TOPIC QUEUE OFFSET
     */
    public static void main(String[] arguments) {
        int code = 0;
        try {
            nameserver = arguments[1];
            admin = new DefaultMQAdminExt();
            admin.setNamesrvAddr(nameserver);
            admin.start();
            switch (arguments[0]) {
                case "traffic" -> code = traffic(arguments[2], Integer.parseInt(arguments[3]), Path.of(arguments[4]));
                case "metadata" -> metadata(arguments[2]);
                case "messages" -> messages();
                case "commit" -> commit(arguments[2], arguments[3], arguments[4], Integer.parseInt(arguments[5]), Long.parseLong(arguments[6]));
                default -> throw new IllegalArgumentException(arguments[0]);
            }
        } catch (Throwable failure) {
            failure.printStackTrace();
            code = 1;
        }
        System.out.flush();
        System.exit(code); // the clients' threads would go on
    }
}
