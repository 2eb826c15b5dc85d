// A producer whose acknowledgements are lost, with nothing but what every official client since 4.9 has; run by 'clients'.
import java.io.DataInputStream;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.URI;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

public final class Duplicates {
    static final int SENDERS = 4;
    static final int EACH = 60;
    static final int BATCH = 5;

    /** Loses answers to sends: some silently, some with their connection. */
    static final class Proxy {
        final AtomicInteger lost = new AtomicInteger();
        private final ServerSocket listener;
        private final int broker;
        private final Random random = new Random(7);
        private volatile boolean lossy = true;

        Proxy(int port, int broker) throws Exception {
            this.broker = broker;
            listener = new ServerSocket(port, 50, InetAddress.getLoopbackAddress());
            start(() -> {
                while (true) {
                    serve(listener.accept());
                }
            });
        }

        void heal() {
            lossy = false;
        }

        private void serve(Socket near) throws Exception {
            Socket far = new Socket(InetAddress.getLoopbackAddress(), broker);
            near.setTcpNoDelay(true);
            far.setTcpNoDelay(true);
            start(() -> {
                try (near; far; InputStream in = near.getInputStream(); OutputStream out = far.getOutputStream()) {
                    in.transferTo(out);
                }
            });
            start(() -> {
                try (near; far; DataInputStream in = new DataInputStream(far.getInputStream()); OutputStream out = near.getOutputStream()) {
                    while (true) {
                        byte[] length = in.readNBytes(4);
                        if (length.length < 4) {
                            return;
                        }
                        byte[] frame = in.readNBytes(java.nio.ByteBuffer.wrap(length).getInt());
                        // Of all answers only those to sends carry an id.
                        int fate = lossy && new String(frame, StandardCharsets.ISO_8859_1).contains("\"msgId\"") ? chance() : 9;
                        if (fate < 2) {
                            lost.incrementAndGet();
                        }
                        if (fate == 0) {
                            return;
                        }
                        if (fate > 1) {
                            out.write(length);
                            out.write(frame);
                        }
                    }
                }
            });
        }

        private synchronized int chance() {
            return random.nextInt(8);
        }
    }

    interface Work {
        void run() throws Exception;
    }

    static Thread start(Work work) {
        Thread thread = new Thread(() -> {
            try {
                work.run();
            } catch (Exception ended) {
                // A connection has ended.
            }
        });
        thread.setDaemon(true);
        thread.start();
        return thread;
    }

    static String nameserver;
    static DefaultMQProducer producer;
    static TransactionMQProducer decider;
    /** What was acknowledged, and where it is; transactions and delayed messages have no place of their own yet. */
    static final Map<String, String> acknowledged = new ConcurrentHashMap<>();

    static Message message(String topic, String body) {
        return new Message(topic, body.getBytes(StandardCharsets.UTF_8));
    }

    static String place(SendResult result) {
        return result.getMessageQueue().getQueueId() + "/" + result.getQueueOffset();
    }

    static <T extends DefaultMQProducer> T started(T client) throws Exception {
        client.setNamesrvAddr(nameserver);
        client.setInstanceName(client.getProducerGroup());
        client.setSendMsgTimeout(1500);
        client.setRetryTimesWhenSendFailed(3);
        try {
            // Where there is such a setting a try ends before the time for all of them does.
            client.getClass().getMethod("setSendMsgMaxTimeoutPerRequest", int.class).invoke(client, 400);
        } catch (NoSuchMethodException older) {
            // Then the application sends the message again.
        }
        client.start();
        return client;
    }

    interface Sending {
        SendResult send() throws Exception;
    }

    /** As applications do: the same message again until it is acknowledged. */
    static SendResult insist(Sending sending) {
        while (true) {
            try {
                SendResult result = sending.send();
                if (result.getSendStatus() == SendStatus.SEND_OK) {
                    return result;
                }
            } catch (Exception lost) {
                // Whether it is stored is not known.
            }
        }
    }

    static void sendAllWays(String topic, int sender) throws Exception {
        CountDownLatch answered = new CountDownLatch(EACH);
        for (int number = 0; number < EACH; number++) {
            String name = sender + "-" + number;
            Message single = message(topic, "single-" + name);
            acknowledged.put("single-" + name, place(insist(() -> producer.send(single))));
            asynchronously(message(topic, "async-" + name), "async-" + name, answered);
            if (number % BATCH == 0) {
                List<Message> batch = new ArrayList<>();
                for (int part = 0; part < BATCH; part++) {
                    batch.add(message(topic, "batch-" + name + "-" + part));
                    acknowledged.put("batch-" + name + "-" + part, "");
                }
                acknowledged.put("batch-" + name + "-0", place(insist(() -> producer.send(batch))));
                Message delayed = message(topic, "delayed-" + name);
                delayed.setDelayTimeLevel(1);
                insist(() -> producer.send(delayed));
                acknowledged.put("delayed-" + name, "");
                Message decided = message(topic, "decided-" + name);
                insist(() -> decider.sendMessageInTransaction(decided, null));
                acknowledged.put("decided-" + name, "");
            }
        }
        check(answered.await(60, TimeUnit.SECONDS), "answers to asynchronous sends");
    }

    static void asynchronously(Message message, String body, CountDownLatch answered) throws Exception {
        producer.send(message, new SendCallback() {
            @Override
            public void onSuccess(SendResult result) {
                acknowledged.put(body, place(result));
                answered.countDown();
            }

            @Override
            public void onException(Throwable lost) {
                start(() -> {
                    acknowledged.put(body, place(insist(() -> producer.send(message))));
                    answered.countDown();
                });
            }
        });
    }

    static void check(boolean holds, String what) {
        if (!holds) {
            throw new IllegalStateException(what);
        }
    }

    /** All bodies of a topic with their places. */
    static Map<String, List<String>> stored(DefaultMQPullConsumer reader, String topic) throws Exception {
        Map<String, List<String>> found = new HashMap<>();
        for (MessageQueue queue : reader.fetchSubscribeMessageQueues(topic)) {
            long end = reader.maxOffset(queue);
            for (long at = 0; at < end; ) {
                PullResult pulled = reader.pull(queue, "*", at, 32);
                check(pulled.getNextBeginOffset() > at, "a pull goes on: " + pulled);
                at = pulled.getNextBeginOffset();
                for (MessageExt message : pulled.getMsgFoundList()) {
                    String body = new String(message.getBody(), StandardCharsets.UTF_8);
                    found.computeIfAbsent(body, first -> new ArrayList<>()).add(queue.getQueueId() + "/" + message.getQueueOffset());
                }
            }
        }
        return found;
    }

    static String figure(String monitor, String name) throws Exception {
        URL url = URI.create("http://" + monitor + "/metrics").toURL();
        try (InputStream in = url.openStream()) {
            String text = new String(in.readAllBytes(), StandardCharsets.UTF_8);
            return Arrays.stream(text.split("\n")).filter(line -> line.startsWith(name + " ")).findFirst().orElse(name + " missing").split(" ")[1];
        }
    }

    static void await(String what, java.util.concurrent.Callable<Boolean> holds) throws Exception {
        long end = System.nanoTime() + 60_000_000_000L;
        while (!holds.call()) {
            check(System.nanoTime() < end, "not within 60 s: " + what);
            Thread.sleep(50);
        }
    }

    static String run(String topic, Proxy proxy, String monitor) throws Exception {
        long before = Long.parseLong(figure(monitor, "orbitmq_duplicates_dropped_total"));
        CountDownLatch done = new CountDownLatch(SENDERS);
        for (int sender = 0; sender < SENDERS; sender++) {
            int number = sender;
            start(() -> {
                sendAllWays(topic, number);
                done.countDown();
            });
        }
        check(done.await(180, TimeUnit.SECONDS), "all senders end");
        proxy.heal();
        check(proxy.lost.get() > 50, "answers that were lost: " + proxy.lost);
        Message last = message(topic, "last");
        last.setDelayTimeLevel(1);
        producer.send(last);
        acknowledged.put("last", "");
        DefaultMQPullConsumer reader = new DefaultMQPullConsumer("reader_" + topic);
        reader.setNamesrvAddr(nameserver);
        reader.setInstanceName("reader_" + topic);
        reader.start();
        // Delayed messages come in their order, and transactions that are open are asked about.
        await("the last delayed message", () -> stored(reader, topic).containsKey("last"));
        await("no open transactions", () -> figure(monitor, "orbitmq_transactions_open").equals("0"));
        await("all that was acknowledged", () -> stored(reader, topic).keySet().containsAll(acknowledged.keySet()));
        Map<String, List<String>> found = stored(reader, topic);
        found.forEach((body, places) -> check(places.size() == 1, body + " is stored at " + places));
        check(found.keySet().equals(acknowledged.keySet()), "stored " + found.size() + ", sent " + acknowledged.size());
        acknowledged.forEach((body, place) -> check(place.isEmpty() || place.equals(found.get(body).get(0)), body + " answered " + place + ", is at " + found.get(body)));
        long dropped = Long.parseLong(figure(monitor, "orbitmq_duplicates_dropped_total")) - before;
        check(dropped > 0, "none was sent again");
        reader.shutdown();
        return found.size() + " messages, " + proxy.lost + " answers lost, " + dropped + " duplicates dropped";
    }

    /** NAMESERVER TOPIC PROXY_PORT BROKER_PORT MONITOR: the broker advertises the proxy. Begins when told that the topic drops duplicates. */
    public static void main(String[] arguments) throws Exception {
        nameserver = arguments[0];
        int code = 0;
        try {
            Proxy proxy = new Proxy(Integer.parseInt(arguments[2]), Integer.parseInt(arguments[3]));
            check(System.in.read() > 0, "the topic");
            producer = started(new DefaultMQProducer("duplicates"));
            decider = new TransactionMQProducer("deciders");
            decider.setTransactionListener(new TransactionListener() {
                @Override
                public LocalTransactionState executeLocalTransaction(Message message, Object state) {
                    return LocalTransactionState.COMMIT_MESSAGE;
                }

                @Override
                public LocalTransactionState checkLocalTransaction(MessageExt message) {
                    return LocalTransactionState.COMMIT_MESSAGE;
                }
            });
            started(decider);
            System.out.println("PASS lost_acknowledgements: " + run(arguments[1], proxy, arguments[4]));
        } catch (Throwable failure) {
            failure.printStackTrace();
            System.out.println("FAIL lost_acknowledgements: " + failure);
            code = 1;
        }
        System.out.flush();
        System.exit(code); // the clients' threads would go on
    }
}
