// Consumers of the official client and ours side by side, and what mqadmin shows of ours; run as a single-file program by 'consuming'.
import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.Field;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.common.message.MessageRequestMode;
import org.apache.rocketmq.remoting.protocol.subscription.SubscriptionGroupConfig;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;
import org.apache.rocketmq.tools.command.MQAdminStartup;

public final class Consuming {
    static final PrintStream TERMINAL = System.out;
    static String nameserver;
    static String broker;
    static String orbitmq;
    static String self;
    static DefaultMQAdminExt admin;
    static DefaultMQProducer producer;
    static final List<Process> processes = new ArrayList<>();

    interface Case {
        void run(String name) throws Exception;
    }

    static void check(boolean holds, String what) {
        if (!holds) {
            throw new IllegalStateException(what);
        }
    }

    /** A Java client whose subscription got a new version while a heartbeat was under way is refused (25) until the next, 30 s later. */
    static void await(int seconds, String what, Callable<Boolean> condition) throws Exception {
        long end = System.currentTimeMillis() + seconds * 1000L;
        while (!condition.call()) {
            check(System.currentTimeMillis() < end, "not within " + seconds + " s: " + what);
            Thread.sleep(20);
        }
    }

    static String mqadmin(String... arguments) throws Exception {
        // Commands keep what they used before: each run gets new ones.
        Field commands = MQAdminStartup.class.getDeclaredField("SUB_COMMANDS");
        commands.setAccessible(true);
        ((List<?>) commands.get(null)).clear();
        List<String> all = new ArrayList<>(List.of(arguments));
        all.addAll(List.of("-n", nameserver));
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        PrintStream out = new PrintStream(bytes, true, StandardCharsets.UTF_8);
        PrintStream err = System.err;
        System.setOut(out);
        System.setErr(out);
        try {
            MQAdminStartup.main0(all.toArray(new String[0]), null);
        } finally {
            System.setOut(TERMINAL);
            System.setErr(err);
        }
        return bytes.toString(StandardCharsets.UTF_8);
    }

    static void shows(String output, String... patterns) {
        for (String pattern : patterns) {
            check(Pattern.compile(pattern).matcher(output).find(), "'" + pattern + "' is not in: " + output);
        }
    }

    static void create(String name, int queues) throws Exception {
        admin.createAndUpdateTopicConfig(broker, new TopicConfig(name, queues, queues, 6));
        SubscriptionGroupConfig group = new SubscriptionGroupConfig();
        group.setGroupName("g-" + name);
        admin.createAndUpdateSubscriptionGroupConfig(broker, group);
        await(30, "the topic is routed", () -> !admin.examineTopicRouteInfo(name).getQueueDatas().isEmpty());
    }

    static SendResult send(String name, int number, int queue) throws Exception {
        Message message = new Message(name, "t", "key-" + number, Integer.toString(number).getBytes(StandardCharsets.UTF_8));
        return producer.send(message, new MessageQueue(name, "broker-a", queue));
    }

    /** How often each number came, here and in our consumers. */
    static final class Seen {
        final Map<Integer, AtomicInteger> java = new ConcurrentHashMap<>();
        final Map<Integer, AtomicInteger> ours = new ConcurrentHashMap<>();

        int total() {
            return java.values().stream().mapToInt(AtomicInteger::get).sum() + ours.values().stream().mapToInt(AtomicInteger::get).sum();
        }

        boolean eachOnce(int count) {
            for (int number = 0; number < count; number++) {
                int times = (java.containsKey(number) ? java.get(number).get() : 0) + (ours.containsKey(number) ? ours.get(number).get() : 0);
                if (times != 1) {
                    return false;
                }
            }
            return total() == count;
        }
    }

    static void count(Map<Integer, AtomicInteger> where, byte[] body) {
        where.computeIfAbsent(Integer.parseInt(new String(body, StandardCharsets.UTF_8)), none -> new AtomicInteger()).incrementAndGet();
    }

    /** One of our consumers, as a process that prints what it acknowledges. */
    static Process ours(String name, Seen seen, String... more) throws Exception {
        List<String> command = new ArrayList<>(List.of(orbitmq, "--nameserver", nameserver, "-o", "json", "tail", name, "--group", "g-" + name, "--from", "first"));
        command.addAll(List.of(more));
        Process process = new ProcessBuilder(command).redirectError(new File("ours.err")).start();
        processes.add(process);
        Thread reader = new Thread(() -> {
            Pattern body = Pattern.compile("\"body\":\"(\\d+)\"");
            try (BufferedReader lines = new BufferedReader(new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8))) {
                for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                    Matcher found = body.matcher(line);
                    if (found.find()) {
                        count(seen.ours, found.group(1).getBytes(StandardCharsets.UTF_8));
                    }
                }
            } catch (Exception end) {
                end.printStackTrace();
            }
        });
        reader.setDaemon(true);
        reader.start();
        return process;
    }

    static DefaultMQPushConsumer consumer(String name, String instance, boolean trace) throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer("g-" + name);
        consumer.setEnableTrace(trace);
        consumer.setNamesrvAddr(nameserver);
        consumer.setInstanceName(instance);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(name, "*");
        return consumer;
    }

    static DefaultMQPushConsumer counting(DefaultMQPushConsumer consumer, Seen seen) throws Exception {
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(message -> count(seen.java, message.getBody()));
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        return consumer;
    }

    /** A group whose request mode is POP, with a member of either kind; then it is PULL, while both run. */
    static void shareAGroupThatPops(String name) throws Exception {
        create(name, 4);
        admin.setMessageRequestMode(broker, name, "g-" + name, MessageRequestMode.POP, 8, 3_000);
        Seen seen = new Seen();
        Process ours = ours(name, seen, "--fetch", "by-group");
        DefaultMQPushConsumer consumer = consumer(name, name, false);
        consumer.setClientRebalance(false);
        counting(consumer, seen);
        for (int number = 0; number < 400; number++) {
            send(name, number, number % 4);
        }
        await(60, "all 400, each once", () -> seen.eachOnce(400));
        await(30, "both are members", () -> admin.examineConsumerConnectionInfo("g-" + name).getConnectionSet().size() == 2);
        int sent = 400;
        // Whoever asks first has them; with time both do.
        for (int round = 0; round < 100 && (seen.java.isEmpty() || seen.ours.isEmpty()); round++) {
            for (int queue = 0; queue < 4; queue++) {
                send(name, sent++, queue);
            }
            Thread.sleep(100);
        }
        check(!seen.java.isEmpty() && !seen.ours.isEmpty(), "one of them gets everything: " + seen.java.size() + ", " + seen.ours.size());
        int popped = sent;
        await(60, "all, each once", () -> seen.eachOnce(popped));
        Thread.sleep(1_000);
        admin.setMessageRequestMode(broker, name, "g-" + name, MessageRequestMode.PULL, 0, 3_000);
        // Our consumer looks each 5 s, Java's each 20 s; a held pop may last as long.
        await(90, "both pull", () -> {
            var table = admin.getConsumeStatus(name, "g-" + name, "");
            return table.size() == 2 && table.values().stream().allMatch(queues -> queues.size() >= 1);
        });
        for (int n = 0; n < 100; n++) {
            send(name, popped + n, n % 4);
        }
        await(60, "all after the change", () -> seen.total() >= popped + 100);
        ours.destroy();
        consumer.shutdown();
    }

    static DefaultMQPushConsumer orderly(String name, String instance, Seen seen) throws Exception {
        DefaultMQPushConsumer consumer = consumer(name, instance, false);
        consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
            messages.forEach(message -> count(seen.java, message.getBody()));
            return ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.start();
        return consumer;
    }

    /** How long the queues of a member that leaves rest, when it says good-bye and when its process is killed. */
    static void handOverLocks(String name) throws Exception {
        create(name, 4);
        for (boolean killed : new boolean[] {false, true}) {
            Seen stays = new Seen();
            DefaultMQPushConsumer one = orderly(name, name + killed, stays);
            Seen leaves = new Seen();
            DefaultMQPushConsumer other = null;
            Process process = null;
            if (killed) {
                process = new ProcessBuilder(ProcessHandle.current().info().command().get(), "-Xmx96m", "-Duser.home=" + System.getProperty("user.home"),
                    "-cp", System.getProperty("java.class.path"), self, "member", nameserver, name).redirectErrorStream(true)
                    .redirectOutput(new File("member.out")).start();
                processes.add(process);
            } else {
                other = orderly(name, name + "other", leaves);
            }
            // Both have queues, with their locks, once a message in each queue does not come to the one that stays alone.
            AtomicInteger number = new AtomicInteger(killed ? 100_000 : 0);
            await(60, "both have queues", () -> {
                int first = number.getAndAdd(4);
                for (int queue = 0; queue < 4; queue++) {
                    send(name, first + queue, queue);
                }
                Thread.sleep(500);
                long here = stays.java.keySet().stream().filter(one1 -> one1 >= first).count();
                return here > 0 && here < 4;
            });
            if (killed) {
                process.destroyForcibly().waitFor();
            } else {
                other.shutdown();
            }
            long left = System.currentTimeMillis();
            int first = number.getAndAdd(4);
            for (int queue = 0; queue < 4; queue++) {
                send(name, first + queue, queue);
            }
            await(30, "the one that stays has all queues", () -> stays.java.keySet().stream().filter(one1 -> one1 >= first).count() == 4);
            long took = System.currentTimeMillis() - left;
            check(took < 5_000, "the locks took " + took + " ms");
            TERMINAL.println(" after " + took + " ms the other has the queues of one that " + (killed ? "was killed" : "left"));
            one.shutdown();
        }
    }

    static void member(String[] arguments) throws Exception {
        nameserver = arguments[1];
        orderly(arguments[2], "killed", new Seen());
        Thread.sleep(600_000);
    }

    /** What mqadmin shows of messages that Java's clients and ours have traced. */
    static void traces(String name) throws Exception {
        create(name, 1);
        Seen seen = new Seen();
        DefaultMQPushConsumer consumer = counting(consumer(name, name, true), seen);
        DefaultMQProducer traced = new DefaultMQProducer("traced-" + name);
        traced.setEnableTrace(true);
        traced.setNamesrvAddr(nameserver);
        traced.setInstanceName(name);
        traced.start();
        SendResult sent = traced.send(new Message(name, "tag", "order-1", "1".getBytes(StandardCharsets.UTF_8)));
        await(60, "it came", () -> seen.total() == 1);
        String table = sent.getMsgId();
        await(40, "traces of Java's clients", () -> {
            String shown = mqadmin("queryMsgTraceById", "-i", table);
            return shown.contains("traced-" + name) && shown.contains("g-" + name) && shown.contains("success");
        });
        traced.shutdown();
        consumer.shutdown();

        ours(name, seen, "--trace");
        String out = run(orbitmq, "--nameserver", nameserver, "-o", "json", "send", name, "2", "--key", "order-2", "--tag", "tag", "--trace");
        Matcher id = Pattern.compile("\"message_id\":\"([0-9A-F]+)\"").matcher(out);
        check(id.find(), out);
        await(60, "it came", () -> seen.total() == 2);
        await(40, "traces of ours", () -> {
            String shown = mqadmin("queryMsgTraceById", "-i", id.group(1));
            return shown.contains("Pub") && shown.contains("orbitmq-cli") && shown.contains("g-" + name);
        });
        shows(mqadmin("queryMsgTraceById", "-i", id.group(1)), "orbitmq-cli +127\\.0\\.0\\.1", "success");
    }

    static String run(String... command) throws Exception {
        Process process = new ProcessBuilder(command).start();
        String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        check(process.waitFor() == 0, String.join(" ", command) + ": " + new String(process.getErrorStream().readAllBytes(), StandardCharsets.UTF_8));
        return out;
    }

    /** What mqadmin shows and asks of our consumers. */
    static void askOurs(String name) throws Exception {
        for (String fetch : List.of("pull", "pop")) {
            String topic = name + "-" + fetch;
            create(topic, 2);
            Seen seen = new Seen();
            ours(topic, seen, "--fetch", fetch);
            SendResult sent = send(topic, 7, 1);
            await(60, "it came", () -> seen.total() == 1);
            String group = "g-" + topic;
            String connection = mqadmin("consumerConnection", "-g", group);
            Matcher id = Pattern.compile("(?m)^(\\S+@\\S+) +127").matcher(connection);
            check(id.find(), "no client in: " + connection.replace("\n", " | "));
            shows(mqadmin("consumerStatus", "-g", group), Pattern.quote(id.group(1)), "Same subscription in the same group of consumer", "Rebalance OK");
            shows(mqadmin("consumerStatus", "-g", group, "-i", id.group(1), "-s"), "#Consumer Properties#", "PROP_CONSUME_TYPE +: CONSUME_PASSIVELY",
                topic + " +broker-a +" + ("pop".equals(fetch) ? "-1" : "1"), "(?m)^" + topic + " +[0-9.]+ +[0-9.]+ +[0-9.]+", "runs on tasks");
            shows(mqadmin("queryMsgById", "-t", topic, "-i", sent.getOffsetMsgId(), "-g", group, "-d", id.group(1)), "CR_SUCCESS");
            await(30, "it was consumed by hand", () -> seen.ours.get(7).get() == 2);
        }
    }

    public static void main(String[] arguments) throws Exception {
        self = "Consuming";
        if ("member".equals(arguments[0])) {
            member(arguments);
            return;
        }
        nameserver = arguments[0];
        broker = arguments[1];
        orbitmq = arguments[2];
        Pattern only = Pattern.compile(arguments.length > 3 ? arguments[3] : "");
        System.setProperty("rocketmq.namesrv.addr", nameserver);
        admin = new DefaultMQAdminExt(10_000);
        admin.setNamesrvAddr(nameserver);
        admin.start();
        producer = new DefaultMQProducer("consuming-producer");
        producer.setNamesrvAddr(nameserver);
        producer.start();
        Map<String, Case> cases = new java.util.LinkedHashMap<>();
        cases.put("share-a-group-that-pops", Consuming::shareAGroupThatPops);
        cases.put("hand-over-locks", Consuming::handOverLocks);
        cases.put("traces", Consuming::traces);
        cases.put("ask-ours", Consuming::askOurs);
        int failed = 0;
        for (Map.Entry<String, Case> one : cases.entrySet()) {
            if (!only.matcher(one.getKey()).find()) {
                continue;
            }
            try {
                one.getValue().run(one.getKey());
                TERMINAL.println("PASS " + one.getKey());
            } catch (Throwable failure) {
                failed++;
                TERMINAL.println("FAIL " + one.getKey() + ": " + failure);
            }
        }
        processes.forEach(Process::destroyForcibly);
        System.exit(failed == 0 ? 0 : 1);
    }
}
