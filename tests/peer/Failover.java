// What clients see when brokers die or stand still; run as a single-file program by 'failover'.
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

public final class Failover {
    static final int SENDERS = 4;

    static String nameserver;

    static DefaultMQPushConsumer consumer(String topic, int poll, Set<String> seen, Gap gap) throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(topic + "-" + System.nanoTime());
        consumer.setNamesrvAddr(nameserver);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setPollNameServerInterval(poll);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            for (MessageExt message : messages) {
                seen.add(new String(message.getBody(), StandardCharsets.UTF_8));
                gap.tick();
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        return consumer;
    }

    static DefaultMQProducer producer(int poll) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer("failover-producer");
        producer.setNamesrvAddr(nameserver);
        producer.setPollNameServerInterval(poll);
        producer.start();
        return producer;
    }

    /** The longest time between two events since it was last asked for. */
    static final class Gap {
        private long last = System.nanoTime();
        private long longest;

        synchronized void tick() {
            long now = System.nanoTime();
            longest = Math.max(longest, now - last);
            last = now;
        }

        synchronized long millis() {
            long millis = longest / 1_000_000;
            longest = 0;
            return millis;
        }
    }

    /**
     * Sends as an application does, with the client's own retries, and consumes, until standard input ends. A line there asks for the longest
     * gaps since the line before.
     */
    static int traffic(String topic, int poll) throws Exception {
        Set<String> acknowledged = ConcurrentHashMap.newKeySet();
        Set<String> seen = ConcurrentHashMap.newKeySet();
        Gap consumed = new Gap();
        Gap sent = new Gap();
        DefaultMQProducer producer = producer(poll);
        AtomicBoolean over = new AtomicBoolean();
        List<Thread> senders = new ArrayList<>();
        for (int i = 0; i < SENDERS; i++) {
            int sender = i;
            Thread thread = new Thread(() -> {
                for (long number = 0; !over.get(); number++) {
                    String body = sender + "-" + number;
                    if (send(producer, topic, body) == null) {
                        acknowledged.add(body);
                        sent.tick();
                    }
                    pause();
                }
            });
            senders.add(thread);
            thread.start();
        }
        DefaultMQPushConsumer consumer = consumer(topic, poll, seen, consumed);
        consumer.start();
        while (seen.size() < 100) {
            pause();
        }
        sent.millis();
        consumed.millis();
        System.out.println("running");
        BufferedReader orders = new BufferedReader(new InputStreamReader(System.in));
        while (orders.readLine() != null) {
            System.out.println("gap " + sent.millis() + " consumers " + consumed.millis());
        }
        over.set(true);
        for (Thread sender : senders) {
            sender.join();
        }
        long deadline = System.nanoTime() + 60_000_000_000L;
        while (System.nanoTime() < deadline && !seen.containsAll(acknowledged)) {
            pause();
        }
        long lost = acknowledged.stream().filter(body -> !seen.contains(body)).count();
        System.out.println("acknowledged " + acknowledged.size() + " lost " + lost);
        return lost == 0 ? 0 : 1;
    }

    /** Sends one message; what went wrong, or null. */
    static String send(DefaultMQProducer producer, String topic, String body) {
        try {
            SendStatus status = producer.send(new Message(topic, body.getBytes(StandardCharsets.UTF_8))).getSendStatus();
            return status == SendStatus.SEND_OK ? null : status.name();
        } catch (Exception failure) {
            String text = failure.getClass().getSimpleName() + " " + String.valueOf(failure.getMessage()).split("\n")[0];
            return text.substring(0, Math.min(text.length(), 160)).replaceAll("[0-9]+", "N");
        }
    }

    /** Sends messages from several threads, each tried once; the acknowledged ones' bodies go to the file of that name. */
    static int send(String topic, int count, int threads, Path file) throws Exception {
        DefaultMQProducer producer = producer(1000);
        producer.setRetryTimesWhenSendFailed(0);
        Set<String> acknowledged = ConcurrentHashMap.newKeySet();
        Map<String, Long> failures = new ConcurrentHashMap<>();
        AtomicLong next = new AtomicLong();
        AtomicLong slowest = new AtomicLong();
        AtomicLong late = new AtomicLong();
        long begun = System.nanoTime();
        List<Thread> senders = new ArrayList<>();
        for (int i = 0; i < threads; i++) {
            Thread thread = new Thread(() -> {
                for (long number = next.getAndIncrement(); number < count; number = next.getAndIncrement()) {
                    long started = System.nanoTime();
                    String failure = send(producer, topic, "m" + number);
                    long took = (System.nanoTime() - started) / 1_000_000;
                    slowest.accumulateAndGet(took, Math::max);
                    if (number >= count / 2) {
                        late.accumulateAndGet(took, Math::max);
                    }
                    if (failure == null) {
                        acknowledged.add("m" + number);
                    } else {
                        failures.merge(failure, 1L, Long::sum);
                    }
                }
            });
            senders.add(thread);
            thread.start();
        }
        for (Thread sender : senders) {
            sender.join();
        }
        Files.write(file, acknowledged);
        System.out.println("sent " + count + " acknowledged " + acknowledged.size() + " in " + (System.nanoTime() - begun) / 1_000_000
            + " ms, slowest answer " + slowest + " ms, of the second half " + late + " ms");
        new TreeMap<>(failures).forEach((failure, times) -> System.out.println("  " + times + " times " + failure));
        return 0;
    }

    /** A new group reads all that the file names. */
    static int read(String topic, Path file) throws Exception {
        Set<String> wanted = Set.copyOf(Files.readAllLines(file));
        Set<String> seen = ConcurrentHashMap.newKeySet();
        DefaultMQPushConsumer consumer = consumer(topic, 30_000, seen, new Gap());
        consumer.start();
        long begun = System.nanoTime();
        long first = -1;
        while ((System.nanoTime() - begun) / 1_000_000_000 < 60 && !seen.containsAll(wanted)) {
            if (first < 0 && !seen.isEmpty()) {
                first = (System.nanoTime() - begun) / 1_000_000;
            }
            Thread.sleep(1);
        }
        long missing = wanted.stream().filter(body -> !seen.contains(body)).count();
        System.out.println("of " + wanted.size() + " acknowledged missing " + missing + ", first after " + first + " ms, all after "
            + (System.nanoTime() - begun) / 1_000_000 + " ms");
        return missing == 0 ? 0 : 1;
    }

    static void pause() {
        try {
            Thread.sleep(5);
        } catch (InterruptedException stopped) {
            Thread.currentThread().interrupt();
        }
    }

    /** traffic NAMESERVERS TOPIC POLL_MS | send NAMESERVERS TOPIC COUNT THREADS FILE | read NAMESERVERS TOPIC FILE */
    public static void main(String[] arguments) {
        int code = 0;
        try {
            nameserver = arguments[1];
            switch (arguments[0]) {
                case "traffic" -> code = traffic(arguments[2], Integer.parseInt(arguments[3]));
                case "send" -> code = send(arguments[2], Integer.parseInt(arguments[3]), Integer.parseInt(arguments[4]), Path.of(arguments[5]));
                case "read" -> code = read(arguments[2], Path.of(arguments[3]));
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
