// Two consumers of the official client pop a topic by tag and give some messages back twice; run as a single-file program by 'popping'.
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentSkipListMap;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageRequestMode;
import org.apache.rocketmq.remoting.protocol.subscription.SubscriptionGroupConfig;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

public final class Popping {
    static final int MESSAGES = 200;
    static final String TOPIC = "popping";
    static final String GROUP = "poppers";

    /** Every tenth message is given back until it was there three times. */
    static int deliveries(int n) {
        return n % 10 == 0 ? 3 : 1;
    }

    public static void main(String[] args) throws Exception {
        String nameserver = args[0];
        String broker = args[1];
        DefaultMQAdminExt admin = new DefaultMQAdminExt(10_000);
        admin.setNamesrvAddr(nameserver);
        admin.start();
        admin.createAndUpdateTopicConfig(broker, new TopicConfig(TOPIC, 4, 4, 6));
        SubscriptionGroupConfig group = new SubscriptionGroupConfig();
        group.setGroupName(GROUP);
        admin.createAndUpdateSubscriptionGroupConfig(broker, group);
        admin.setMessageRequestMode(broker, TOPIC, GROUP, MessageRequestMode.POP, 8, 3_000);
        DefaultMQProducer producer = new DefaultMQProducer("popping-producer");
        producer.setNamesrvAddr(nameserver);
        producer.start();
        Map<Integer, List<Integer>> wanted = new TreeMap<>();
        for (int n = 0; n < MESSAGES; n++) {
            producer.send(new Message(TOPIC, n % 2 == 0 ? "even" : "odd", Integer.toString(n).getBytes(StandardCharsets.UTF_8)));
            if (n % 2 == 0) {
                wanted.put(n, deliveries(n) == 1 ? List.of(0) : List.of(0, 1, 2));
            }
        }
        Map<Integer, List<Integer>> seen = new ConcurrentSkipListMap<>();
        List<DefaultMQPushConsumer> consumers = new ArrayList<>();
        for (String name : List.of("one", "two")) {
            consumers.add(consumer(nameserver, name, seen));
        }
        long end = System.currentTimeMillis() + 60_000;
        while (!seen.equals(wanted) && System.currentTimeMillis() < end) {
            Thread.sleep(100);
        }
        // Longer than a message is invisible: nothing comes twice.
        Thread.sleep(8_000);
        for (DefaultMQPushConsumer consumer : consumers) {
            consumer.shutdown();
        }
        producer.shutdown();
        admin.shutdown();
        if (seen.equals(wanted)) {
            System.out.println("PASS " + seen.size() + " messages popped by tag, each as often as it was given back");
            System.exit(0);
        }
        System.out.println("FAIL wanted " + wanted + "\n      seen " + seen);
        System.exit(1);
    }

    static DefaultMQPushConsumer consumer(String nameserver, String name, Map<Integer, List<Integer>> seen) throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(GROUP);
        consumer.setNamesrvAddr(nameserver);
        consumer.setInstanceName(name);
        consumer.setClientRebalance(false);
        consumer.setPopInvisibleTime(6_000);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(TOPIC, "even");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            MessageExt message = messages.get(0);
            int n = Integer.parseInt(new String(message.getBody(), StandardCharsets.UTF_8));
            List<Integer> times = seen.computeIfAbsent(n, none -> Collections.synchronizedList(new ArrayList<>()));
            times.add(TOPIC.equals(message.getTopic()) ? message.getReconsumeTimes() : -1);
            context.setDelayLevelWhenNextConsume(1);
            return times.size() < deliveries(n) ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        return consumer;
    }
}
