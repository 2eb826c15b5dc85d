// The main cases of an application, with nothing but what every official client since 4.9 has; run as a single-file program by 'clients'.
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.client.utils.MessageUtil;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

public final class Clients {
    interface Case {
        void run(String topic) throws Exception;
    }

    static String nameserver;
    static DefaultMQProducer producer;

    static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static String text(Message message) {
        return new String(message.getBody(), StandardCharsets.UTF_8);
    }

    static void check(boolean holds, String what) {
        if (!holds) {
            throw new IllegalStateException(what);
        }
    }

    /** Longer than the 30 s between heartbeats: a client whose subscription got a new version while one was under way is refused (25) until the next. */
    static void await(CountDownLatch latch, String what) throws InterruptedException {
        check(latch.await(60, TimeUnit.SECONDS), what + " within 60 s; missing " + latch.getCount());
    }

    static DefaultMQPushConsumer consumer(String topic) throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer("g_" + topic);
        consumer.setNamesrvAddr(nameserver);
        consumer.setInstanceName(topic);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        return consumer;
    }

    static void send(String topic, String tag, String body) throws Exception {
        check(producer.send(new Message(topic, tag, body, utf8(body))).getSendStatus() == SendStatus.SEND_OK, "a send");
    }

    static void sendAllWays(String topic) throws Exception {
        Set<String> seen = ConcurrentHashMap.newKeySet();
        CountDownLatch all = new CountDownLatch(31);
        DefaultMQPushConsumer consumer = consumer(topic);
        send(topic, "t", "first");
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            for (MessageExt message : messages) {
                if (seen.add(text(message))) {
                    all.countDown();
                }
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        CountDownLatch answered = new CountDownLatch(10);
        for (int i = 0; i < 10; i++) {
            producer.send(new Message(topic, utf8("async" + i)), new SendCallback() {
                @Override
                public void onSuccess(SendResult result) {
                    answered.countDown();
                }

                @Override
                public void onException(Throwable failure) {
                    failure.printStackTrace();
                }
            });
        }
        List<Message> batch = new ArrayList<>();
        for (int i = 0; i < 10; i++) {
            batch.add(new Message(topic, utf8("batch" + i)));
            producer.sendOneway(new Message(topic, utf8("oneway" + i)));
        }
        producer.send(batch);
        await(answered, "answers to asynchronous sends");
        await(all, "all messages");
        consumer.shutdown();
    }

    static void filters(String topic) throws Exception {
        for (int i = 0; i < 10; i++) {
            Message message = new Message(topic, i % 2 == 0 ? "even" : "odd", utf8("m" + i));
            message.putUserProperty("n", String.valueOf(i));
            producer.send(message);
        }
        for (MessageSelector selector : List.of(MessageSelector.byTag("even || none"), MessageSelector.bySql("n BETWEEN 0 AND 8 AND TAGS = 'even'"))) {
            CountDownLatch some = new CountDownLatch(5);
            AtomicReference<String> wrong = new AtomicReference<>();
            DefaultMQPushConsumer consumer = consumer(topic + selector.getExpressionType());
            consumer.subscribe(topic, selector);
            consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
                for (MessageExt message : messages) {
                    if (!"even".equals(message.getTags())) {
                        wrong.set(text(message));
                    }
                    some.countDown();
                }
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            });
            consumer.start();
            await(some, "filtered messages, " + selector.getExpressionType());
            check(wrong.get() == null, "passed the filter: " + wrong);
            consumer.shutdown();
        }
    }

    static void inOrder(String topic) throws Exception {
        for (int i = 0; i < 40; i++) {
            producer.send(new Message(topic, utf8(i % 4 + "-" + i)), (queues, message, key) -> queues.get((int) key % queues.size()), i % 4);
        }
        Map<String, Integer> last = new ConcurrentHashMap<>();
        CountDownLatch all = new CountDownLatch(40);
        AtomicReference<String> wrong = new AtomicReference<>();
        DefaultMQPushConsumer consumer = consumer(topic);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
            for (MessageExt message : messages) {
                String[] parts = text(message).split("-");
                int number = Integer.parseInt(parts[1]);
                Integer before = last.put(parts[0], number);
                if (before != null && before >= number) {
                    wrong.set(before + " before " + number);
                }
                all.countDown();
            }
            return ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.start();
        await(all, "all messages");
        check(wrong.get() == null, "out of order: " + wrong);
        consumer.shutdown();
    }

    static void again(String topic) throws Exception {
        send(topic, "t", "poison");
        AtomicInteger times = new AtomicInteger();
        CountDownLatch came = new CountDownLatch(2);
        DefaultMQPushConsumer consumer = consumer(topic);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            came.countDown();
            context.setDelayLevelWhenNextConsume(1);
            if (times.incrementAndGet() == 1) {
                return ConsumeConcurrentlyStatus.RECONSUME_LATER;
            }
            check(messages.get(0).getReconsumeTimes() == 1, "reconsumeTimes");
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        await(came, "the message once more");
        consumer.shutdown();
    }

    static void later(String topic) throws Exception {
        CountDownLatch came = new CountDownLatch(1);
        AtomicReference<Long> waited = new AtomicReference<>();
        send(topic, "t", "now");
        DefaultMQPushConsumer consumer = consumer(topic);
        consumer.subscribe(topic, "late");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            waited.set(System.currentTimeMillis() - messages.get(0).getBornTimestamp());
            came.countDown();
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        Message message = new Message(topic, "late", utf8("late"));
        message.setDelayTimeLevel(2);
        producer.send(message);
        await(came, "the delayed message");
        check(waited.get() >= 5000, "it came after " + waited + " ms");
        consumer.shutdown();
    }

    static void transactions(String topic) throws Exception {
        CountDownLatch all = new CountDownLatch(2);
        Set<String> seen = ConcurrentHashMap.newKeySet();
        DefaultMQPushConsumer consumer = consumer(topic);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            for (MessageExt message : messages) {
                if (seen.add(text(message))) {
                    all.countDown();
                }
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        TransactionMQProducer sender = new TransactionMQProducer("p_" + topic);
        sender.setNamesrvAddr(nameserver);
        sender.setInstanceName("p_" + topic);
        sender.setTransactionListener(new TransactionListener() {
            @Override
            public LocalTransactionState executeLocalTransaction(Message message, Object state) {
                return (LocalTransactionState) state;
            }

            @Override
            public LocalTransactionState checkLocalTransaction(MessageExt message) {
                return LocalTransactionState.COMMIT_MESSAGE;
            }
        });
        sender.start();
        sender.sendMessageInTransaction(new Message(topic, utf8("committed")), LocalTransactionState.COMMIT_MESSAGE);
        sender.sendMessageInTransaction(new Message(topic, utf8("rolled back")), LocalTransactionState.ROLLBACK_MESSAGE);
        sender.sendMessageInTransaction(new Message(topic, utf8("asked about")), LocalTransactionState.UNKNOW);
        consumer.start();
        await(all, "both messages");
        check(seen.equals(Set.of("committed", "asked about")), "seen: " + seen);
        consumer.shutdown();
        sender.shutdown();
    }

    static void requests(String topic) throws Exception {
        send(topic, "t", "so that the topic is there");
        DefaultMQPushConsumer consumer = consumer(topic);
        consumer.subscribe(topic, "ask");
        DefaultMQProducer replier = new DefaultMQProducer("r_" + topic);
        replier.setNamesrvAddr(nameserver);
        replier.setInstanceName("r_" + topic);
        replier.start();
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            for (MessageExt message : messages) {
                try {
                    replier.send(MessageUtil.createReplyMessage(message, utf8("re: " + text(message))), 3000);
                } catch (Exception failure) {
                    failure.printStackTrace();
                }
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        Message reply = producer.request(new Message(topic, "ask", utf8("who?")), 20_000);
        check(text(reply).equals("re: who?"), "reply: " + text(reply));
        consumer.shutdown();
        replier.shutdown();
    }

    static void litePull(String topic) throws Exception {
        for (int i = 0; i < 20; i++) {
            send(topic, "t", "m" + i);
        }
        Set<String> seen = ConcurrentHashMap.newKeySet();
        DefaultLitePullConsumer consumer = new DefaultLitePullConsumer("g_" + topic);
        consumer.setNamesrvAddr(nameserver);
        consumer.setInstanceName(topic);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(topic, "*");
        consumer.start();
        long end = System.nanoTime() + 30_000_000_000L;
        while (seen.size() < 20 && System.nanoTime() < end) {
            consumer.poll(500).forEach(message -> seen.add(text(message)));
        }
        check(seen.size() == 20, "seen " + seen.size());
        consumer.commitSync();
        consumer.shutdown();
    }

    static void look(String topic) throws Exception {
        SendResult sent = producer.send(new Message(topic, "t", "key-of-" + topic, utf8("found")));
        long end = System.nanoTime() + 20_000_000_000L;
        List<MessageExt> found = Collections.emptyList();
        while (found.isEmpty() && System.nanoTime() < end) {
            try {
                found = producer.queryMessage(topic, "key-of-" + topic, 8, 0, Long.MAX_VALUE).getMessageList();
            } catch (Exception notYet) {
                Thread.sleep(50);
            }
        }
        check(found.size() == 1 && text(found.get(0)).equals("found"), "by key: " + found);
        check(text(producer.viewMessage(topic, sent.getOffsetMsgId())).equals("found"), "by offset id");
        check(text(producer.viewMessage(topic, sent.getMsgId())).equals("found"), "by unique id");
    }

    /** NAMESERVER SUFFIX: runs all cases on topics of their own; a line for each. */
    public static void main(String[] arguments) throws Exception {
        nameserver = arguments[0];
        producer = new DefaultMQProducer("clients");
        producer.setNamesrvAddr(nameserver);
        producer.start();
        Map<String, Case> cases = new java.util.LinkedHashMap<>();
        cases.put("send_all_ways", Clients::sendAllWays);
        cases.put("filters", Clients::filters);
        cases.put("in_order", Clients::inOrder);
        cases.put("again", Clients::again);
        cases.put("later", Clients::later);
        cases.put("transactions", Clients::transactions);
        cases.put("requests", Clients::requests);
        cases.put("lite_pull", Clients::litePull);
        cases.put("look", Clients::look);
        int failed = 0;
        for (Map.Entry<String, Case> one : cases.entrySet()) {
            try {
                one.getValue().run(one.getKey() + arguments[1]);
                System.out.println("PASS " + one.getKey());
            } catch (Throwable failure) {
                failure.printStackTrace();
                System.out.println("FAIL " + one.getKey() + ": " + failure);
                failed++;
            }
        }
        System.out.flush();
        System.exit(failed); // the clients' threads would go on
    }
}
