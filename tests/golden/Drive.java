// Drives the request kinds that the conformance program does not reach; run as a single-file program against Apache RocketMQ.
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Callable;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.route.BrokerData;
import org.apache.rocketmq.remoting.protocol.subscription.SubscriptionGroupConfig;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

public final class Drive {
    static String nameserver;

    static void attempt(String what, Callable<Object> call) {
        try {
            call.call();
        } catch (Throwable failure) {
            System.out.println(what + ": " + failure.toString().lines().findFirst().orElse(""));
        }
    }

    /** The broker's address, once the name server knows it. */
    static String broker(DefaultMQAdminExt admin) throws Exception {
        while (true) {
            BrokerData broker = admin.examineBrokerClusterInfo().getBrokerAddrTable().get("broker-a");
            if (broker != null) {
                return broker.selectBrokerAddr();
            }
            Thread.sleep(100);
        }
    }

    static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    /** Messages of every form that reaches the log: plain, keyed, batched, compressed, delayed, retried, transactional. */
    static void messages(String topic) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer("golden-producer");
        producer.setNamesrvAddr(nameserver);
        producer.start();
        producer.send(new Message(topic, utf8("plain")));
        producer.send(new Message(topic, "TagA", "key-1 key-2", utf8("keyed")));
        producer.send(new Message(topic, "标签", "ключ", utf8("héllo 世界 🚀")));
        Message property = new Message(topic, "TagB", "", 7, new byte[] {0, 1, 2, (byte) 0xff}, false);
        property.putUserProperty("colour", "blue green");
        producer.send(property);
        List<Message> batch = new ArrayList<>();
        for (int i = 0; i < 5; i++) {
            batch.add(new Message(topic, "TagC", "batch-" + i, utf8("batch " + i)));
        }
        producer.send(batch);
        producer.send(new Message(topic, "TagZ", "", utf8("compressed ".repeat(600))));
        Message delayed = new Message(topic, "TagD", "later", utf8("delayed"));
        delayed.setDelayTimeLevel(1);
        producer.send(delayed);
        producer.sendOneway(new Message(topic, utf8("oneway")));
        TransactionMQProducer half = new TransactionMQProducer("golden-transactions");
        half.setNamesrvAddr(nameserver);
        half.setTransactionListener(new TransactionListener() {
            public LocalTransactionState executeLocalTransaction(Message message, Object choice) {
                return (LocalTransactionState) choice;
            }

            public LocalTransactionState checkLocalTransaction(MessageExt message) {
                return LocalTransactionState.COMMIT_MESSAGE;
            }
        });
        half.start();
        half.sendMessageInTransaction(new Message(topic, "TagT", "committed", utf8("committed")), LocalTransactionState.COMMIT_MESSAGE);
        half.sendMessageInTransaction(new Message(topic, "TagT", "rolled", utf8("rolled back")), LocalTransactionState.ROLLBACK_MESSAGE);
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer("golden-group");
        consumer.setNamesrvAddr(nameserver);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setMaxReconsumeTimes(1);
        consumer.setPollNameServerInterval(1000); // finds the retry topic soon
        consumer.subscribe(topic, "TagA || TagC");
        Set<String> refused = new HashSet<>();
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            context.setDelayLevelWhenNextConsume(1);
            synchronized (refused) {
                boolean refuse = messages.stream().anyMatch(m -> m.getKeys().equals("key-1 key-2"));
                refuse |= messages.stream().anyMatch(m -> refused.add(m.getKeys()));
                return refuse ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            }
        });
        consumer.start();
        Thread.sleep(25_000); // first rebalance, one retry after a second, the dead letter, offsets committed
        consumer.shutdown();
        half.shutdown();
        producer.shutdown();
    }

    static void administration(String topic) throws Exception {
        DefaultMQAdminExt admin = new DefaultMQAdminExt();
        admin.setNamesrvAddr(nameserver);
        admin.start();
        String broker = broker(admin);
        SubscriptionGroupConfig group = new SubscriptionGroupConfig();
        group.setGroupName("golden-made");
        admin.createAndUpdateTopicConfig(broker, new TopicConfig("golden-made", 2, 2));
        admin.createAndUpdateSubscriptionGroupConfig(broker, group);
        MessageQueue queue = new MessageQueue(topic, "broker-a", 0);
        MessageQueue nowhere = new MessageQueue("golden-absent", "broker-a", 9);
        DefaultMQPullConsumer puller = new DefaultMQPullConsumer("golden-puller");
        puller.setNamesrvAddr(nameserver);
        puller.start();
        attempt("104/205", () -> admin.wipeWritePermOfBroker(nameserver, "broker-a"));
        attempt("205 absent", () -> admin.wipeWritePermOfBroker(nameserver, "absent"));
        attempt("327", () -> admin.addWritePermOfBroker(nameserver, "broker-a"));
        attempt("224", () -> admin.fetchTopicsByCLuster("DefaultCluster"));
        attempt("206", () -> admin.fetchAllTopicList());
        attempt("319", () -> admin.getNameServerConfig(List.of(nameserver)));
        attempt("105 absent", () -> admin.examineTopicRouteInfo("golden-absent"));
        attempt("100", () -> { admin.createAndUpdateKvConfig("GOLDEN", "key", "value"); return null; });
        attempt("101", () -> admin.getKVConfig("GOLDEN", "key"));
        attempt("101 absent", () -> admin.getKVConfig("GOLDEN", "absent"));
        attempt("219", () -> admin.getKVListByNamespace("GOLDEN"));
        attempt("219 absent", () -> admin.getKVListByNamespace("ABSENT"));
        attempt("102", () -> { admin.deleteKvConfig("GOLDEN", "key"); return null; });
        attempt("21", () -> admin.getAllTopicConfig(broker, 3000));
        attempt("201", () -> admin.getAllSubscriptionGroup(broker, 3000));
        attempt("351", () -> admin.examineTopicConfig(broker, topic));
        attempt("352", () -> admin.examineSubscriptionGroupConfig(broker, "golden-made"));
        attempt("28", () -> admin.fetchBrokerRuntimeStats(broker));
        attempt("29", () -> puller.searchOffset(queue, System.currentTimeMillis()));
        attempt("30", () -> puller.maxOffset(queue));
        attempt("31", () -> puller.minOffset(queue));
        attempt("32", () -> puller.earliestMsgStoreTime(queue));
        attempt("30 absent", () -> admin.maxOffset(nowhere));
        attempt("11 new", () -> puller.pull(queue, "*", 0, 4));
        attempt("11 filtered", () -> puller.pull(queue, "TagX", 0, 4));
        attempt("11 beyond", () -> puller.pull(queue, "*", 1000, 4));
        attempt("11 held", () -> puller.pullBlockIfNotFound(queue, "*", puller.maxOffset(queue), 4));
        attempt("11 absent", () -> puller.pull(nowhere, "*", 0, 4));
        attempt("15", () -> { puller.updateConsumeOffset(queue, 1); puller.getOffsetStore().persist(queue); return null; });
        attempt("15 sync", () -> { admin.updateConsumeOffset(broker, "golden-made", queue, 1); return null; });
        attempt("14", () -> puller.fetchConsumeOffset(queue, true));
        attempt("12", () -> admin.queryMessage(topic, "key-1", 4, 0, Long.MAX_VALUE));
        attempt("12 absent", () -> admin.queryMessage(topic, "absent", 4, 0, Long.MAX_VALUE));
        attempt("33", () -> admin.viewMessage(topic, puller.pull(queue, "*", 0, 1).getMsgFoundList().get(0).getMsgId()));
        attempt("33 absent", () -> admin.viewMessage(topic, "7F00000100002A9F0000000000FFFFFF"));
        attempt("202", () -> admin.examineTopicStats(topic));
        attempt("202 absent", () -> admin.examineTopicStats(broker, "golden-absent"));
        attempt("208", () -> admin.examineConsumeStats("golden-group", topic));
        attempt("203", () -> admin.examineConsumerConnectionInfo("golden-group"));
        attempt("300", () -> admin.queryTopicConsumeByWho(topic));
        attempt("343", () -> admin.queryTopicsByConsumer("golden-group"));
        attempt("303", () -> admin.queryConsumeTimeSpan(topic, "golden-group"));
        attempt("321", () -> admin.queryConsumeQueue(broker, topic, 0, 0, 4, "golden-group"));
        attempt("400-like lists", () -> admin.getUserSubscriptionGroup(broker, 3000));
        attempt("17 illegal", () -> { admin.createAndUpdateTopicConfig(broker, new TopicConfig("golden made", 2, 2)); return null; });
        attempt("200 illegal", () -> { SubscriptionGroupConfig bad = new SubscriptionGroupConfig(); bad.setGroupName("golden made"); admin.createAndUpdateSubscriptionGroupConfig(broker, bad); return null; });
        attempt("207", () -> { admin.deleteSubscriptionGroup(broker, "golden-made", true); return null; });
        attempt("215", () -> { admin.deleteTopicInBroker(Set.of(broker), "golden-made"); return null; });
        attempt("216", () -> { admin.deleteTopicInNameServer(Set.of(nameserver), "DefaultCluster", "golden-made"); return null; });
        puller.shutdown();
        admin.shutdown();
    }

    static void drive(String[] arguments) throws Exception {
        nameserver = arguments[0];
        String topic = "golden-topic";
        DefaultMQAdminExt admin = new DefaultMQAdminExt();
        admin.setNamesrvAddr(nameserver);
        admin.start();
        String broker = broker(admin);
        admin.createAndUpdateTopicConfig(broker, new TopicConfig(topic, 2, 2));
        Thread.sleep(1500); // until the name server routes it
        admin.shutdown();
        messages(topic);
        if (!List.of(arguments).contains("--messages")) {
            administration(topic);
        }
    }

    public static void main(String[] arguments) {
        int code = 0;
        try {
            drive(arguments);
        } catch (Throwable failure) {
            failure.printStackTrace();
            code = 1;
        }
        System.exit(code); // the clients' threads would go on
    }
}
