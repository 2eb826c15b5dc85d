// Runs Apache RocketMQ's mqadmin, command after command in this one process, and checks what each prints; run as a single-file
// program by 'mqadmin': Mqadmin NAMESRV BROKER_ADDRESS DIRECTORY [REGEX]
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.lang.reflect.Field;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;
import org.apache.rocketmq.tools.command.MQAdminStartup;

public final class Mqadmin {
    static final String CLUSTER = "DefaultCluster";
    static final String BROKER = "broker-a";
    static final String TOPIC = "mqadmin-topic";
    static final String GROUP = "mqadmin-group";
    static final String PRODUCERS = "mqadmin-producers";
    static final int MESSAGES = 40;

    static final PrintStream TERMINAL = System.out;
    static String nameserver;
    static String address;
    static Pattern only;
    static int passed;
    static int failed;

    /** What a command printed, to stdout and stderr, errors among it. */
    static String mqadmin(String... arguments) throws Exception {
        // Commands keep what they used before: each run gets new ones.
        Field commands = MQAdminStartup.class.getDeclaredField("SUB_COMMANDS");
        commands.setAccessible(true);
        ((List<?>) commands.get(null)).clear();
        List<String> all = new ArrayList<>(List.of(arguments));
        all.add("-n");
        all.add(nameserver);
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

    /** A command whose output has to match every pattern and to hold no exception. */
    static String shows(String[] command, String... patterns) throws Exception {
        return check(String.join(" ", command), () -> mqadmin(command), false, patterns);
    }

    /** A command that the server refuses with words that match every pattern. */
    static void refuses(String[] command, String... patterns) throws Exception {
        check(String.join(" ", command) + " (refused)", () -> mqadmin(command), true, patterns);
    }

    /** A call of the admin library that no command makes. */
    static void call(String name, Callable<String> call, String... patterns) throws Exception {
        check(name + " (library)", call, false, patterns);
    }

    static String check(String name, Callable<String> call, boolean refusal, String... patterns) throws Exception {
        String output;
        try {
            output = call.call();
        } catch (Exception error) {
            output = "Exception: " + error;
        }
        if (only != null && !only.matcher(name).find()) {
            return output;
        }
        String wrong = null;
        if (!refusal && output.contains("Exception: ")) {
            wrong = "an exception";
        }
        for (String pattern : patterns) {
            boolean absent = pattern.startsWith("!");
            String regex = absent ? pattern.substring(1) : pattern;
            if (wrong == null && Pattern.compile(regex).matcher(output).find() == absent) {
                wrong = (absent ? "there is: " : "there is no: ") + regex;
            }
        }
        if (wrong == null) {
            passed++;
            TERMINAL.println("PASS " + name);
        } else {
            failed++;
            TERMINAL.println("FAIL " + name + ": " + wrong);
            output.lines().limit(40).forEach(line -> TERMINAL.println("     | " + line));
        }
        return output;
    }

    static String[] command(String... words) {
        return words;
    }

    static void await(String what, Callable<Boolean> condition) throws Exception {
        long end = System.currentTimeMillis() + 60_000;
        while (true) {
            try {
                if (condition.call()) {
                    return;
                }
            } catch (Exception error) {
                if (System.currentTimeMillis() > end) {
                    throw error;
                }
            }
            if (System.currentTimeMillis() > end) {
                throw new IllegalStateException("not within 60 s: " + what);
            }
            Thread.sleep(50);
        }
    }

    static String find(String regex, String text) {
        Matcher matcher = Pattern.compile(regex).matcher(text);
        return matcher.find() ? matcher.group(1) : "not found: " + regex;
    }

    static String read(Path path) throws Exception {
        return Files.readString(path);
    }

    static void topics(Path directory) throws Exception {
        String at = Pattern.quote(address);
        shows(command("updateTopic", "-c", CLUSTER, "-t", TOPIC, "-r", "4", "-w", "4"),
            "create topic to " + at + " success", "topicName=" + TOPIC + ", readQueueNums=4, writeQueueNums=4, perm=RW-");
        shows(command("updateTopic", "-c", CLUSTER, "-t", "mqadmin-order", "-r", "2", "-w", "2", "-o", "true"),
            "create topic to " + at + " success", "set cluster orderConf. isOrder=true, orderConf=\\[broker-a:2\\]");
        shows(command("updateTopic", "-b", address, "-t", "mqadmin-order", "-r", "3", "-w", "3", "-o", "true"),
            "create topic to " + at + " success", "set broker orderConf. isOrder=true, orderConf=\\[broker-a:3\\]");
        Path list = directory.resolve("topics.json");
        Files.writeString(list, "[{\"topicName\":\"mqadmin-list-1\",\"readQueueNums\":3,\"writeQueueNums\":2,\"perm\":6},"
            + "{\"topicName\":\"mqadmin-list-2\",\"readQueueNums\":1,\"writeQueueNums\":1,\"perm\":4}]");
        shows(command("updateTopicList", "-b", address, "-f", list.toString()), "submit batch of topic config to " + at + " success");
        await("the topic is routed", () -> mqadmin("topicList").contains("mqadmin-list-2"));
        shows(command("topicList"), "(?m)^" + TOPIC + "$", "(?m)^mqadmin-list-1$", "(?m)^TBW102$", "(?m)^" + CLUSTER + "$");
        shows(command("topicRoute", "-t", "mqadmin-list-1"),
            "\"brokerAddrs\":\\s*\\{\\s*0:\\s*\"" + at, "\"perm\": ?6", "\"readQueueNums\": ?3", "\"writeQueueNums\": ?2");
        shows(command("topicRoute", "-l", "-t", TOPIC), CLUSTER + " +" + BROKER + " +\\{0=" + at + "\\} +4 +4 +6", "Total: +1 +4 +4");
        shows(command("topicClusterList", "-t", TOPIC), "(?m)^" + CLUSTER + "$");
        shows(command("allocateMQ", "-t", TOPIC, "-i", "10.0.0.1,10.0.0.2"), "10\\.0\\.0\\.1", "10\\.0\\.0\\.2", "\"queueId\": ?3");
        shows(command("updateTopicPerm", "-b", address, "-t", "mqadmin-list-1", "-p", "4"),
            "update topic perm from 6 to 4 in " + at + " success");
        await("the permission is routed", () -> mqadmin("topicRoute", "-t", "mqadmin-list-1").replace(" ", "").contains("\"perm\":4"));
        shows(command("updateTopicPerm", "-c", CLUSTER, "-t", "mqadmin-list-1", "-p", "6"),
            "update topic perm from 4 to 6 in " + at + " success");
        shows(command("updateOrderConf", "-m", "put", "-t", "mqadmin-order", "-v", "broker-a:2"), "update orderConf success");
        shows(command("updateOrderConf", "-m", "get", "-t", "mqadmin-order"),
            "get orderConf success. topic=\\[mqadmin-order\\], orderConf=\\[broker-a:2\\]");
        shows(command("updateOrderConf", "-m", "delete", "-t", "mqadmin-order"), "delete orderConf success. topic=\\[mqadmin-order\\]");
        refuses(command("updateOrderConf", "-m", "get", "-t", "mqadmin-order"), "CODE: 22", "!broker-a:2");
    }

    static void groups(Path directory) throws Exception {
        String at = Pattern.quote(address);
        shows(command("updateSubGroup", "-c", CLUSTER, "-g", "mqadmin-sub", "-r", "5", "-q", "2"),
            "create subscription group to " + at + " success", "retryQueueNums=2, retryMaxTimes=5");
        shows(command("updateSubGroup", "-b", address, "-g", GROUP), "groupName='?" + GROUP);
        Path list = directory.resolve("groups.json");
        Files.writeString(list, "[{\"groupName\":\"mqadmin-list-a\",\"retryMaxTimes\":3},{\"groupName\":\"mqadmin-list-b\"}]");
        shows(command("updateSubGroupList", "-b", address, "-f", list.toString()), "submit batch of group config to " + at + " success");
        shows(command("getConsumerConfig", "-g", "mqadmin-list-a"),
            CLUSTER + ":" + BROKER, "groupName +=  mqadmin-list-a", "retryMaxTimes +=  3");
        shows(command("getConsumerConfig", "-g", "mqadmin-sub"), "retryQueueNums +=  2", "consumeEnable +=  true");
        shows(command("deleteSubGroup", "-c", CLUSTER, "-g", "mqadmin-sub", "-r", "true"),
            "delete subscription group \\[mqadmin-sub\\] from broker \\[" + at + "\\] in cluster \\[" + CLUSTER + "\\] success");
        shows(command("getConsumerConfig", "-g", "mqadmin-sub"), "!mqadmin-sub");
    }

    static void clients(DefaultMQAdminExt admin, String client) throws Exception {
        String at = Pattern.quote(address);
        String every = TOPIC + " +" + BROKER + " +[0-3] +10 +10 +";
        shows(command("consumerProgress"), "(?m)^" + GROUP + " +1 +\\S+ +PUSH +CLUSTERING +\\d+ +0$");
        shows(command("consumerProgress", "-g", GROUP), every, "Consume TPS: [0-9.]+", "Consume Diff Total: 0", "!Consume TPS: 0\\.00");
        shows(command("consumerProgress", "-g", GROUP, "-t", TOPIC, "-s", "true"), every + "\\S+ +0", "127\\.0\\.0\\.1|#Client IP");
        shows(command("consumerStatus", "-g", GROUP), client, "Same subscription in the same group of consumer", "Rebalance OK");
        shows(command("consumerStatus", "-g", GROUP, "-i", client),
            "#Consumer Properties#", "#Consumer MQ Detail#", TOPIC + " +" + BROKER, "#Consumer RT&TPS#");
        shows(command("consumerStatus", "-g", GROUP, "-i", client, "-s"), "ConsumeMessageThread");
        shows(command("consumerConnection", "-g", GROUP),
            client + " +127\\.0\\.0\\.1:\\d+ +JAVA +V5_5_0", "(?m)^" + TOPIC + " +\\*", "ConsumeType: CONSUME_PASSIVELY",
            "MessageModel: CLUSTERING", "ConsumeFromWhere: CONSUME_FROM_FIRST_OFFSET");
        shows(command("producerConnection", "-g", PRODUCERS, "-t", TOPIC), "0001 +\\S+ +127\\.0\\.0\\.1:\\d+ +JAVA +V5_5_0");
        shows(command("producer", "-b", address),
            "producer group \\(" + PRODUCERS + "\\) instance : clientId=\\S+,remoteIP=/?127\\.0\\.0\\.1:\\d+, language=JAVA, version=\\d+");
        shows(command("brokerConsumeStats", "-b", address), TOPIC + " +" + GROUP + " +" + BROKER + " +2 +10 +10 +0 +20\\d\\d-", "Diff Total: \\d+");
        shows(command("statsAll", "-t", TOPIC),
            TOPIC + " +" + GROUP + " +0 +[0-9.]+ +[0-9.]+ +" + MESSAGES + " +" + MESSAGES, "!" + GROUP + " +0 +0\\.00");
        shows(command("statsAll", "-a", "-t", TOPIC), TOPIC + " +" + GROUP);
        call("getConsumeStatus", () -> admin.getConsumeStatus(TOPIC, GROUP, "").toString(),
            client + "=\\{MessageQueue \\[topic=" + TOPIC, "queueId=3\\]=10");
        call("querySubscription", () -> admin.querySubscription(GROUP, TOPIC).toString(), "topic=" + TOPIC + ", subString=\\*");
        call("queryTopicsByConsumer", () -> admin.queryTopicsByConsumer(GROUP).getTopicList().toString(), TOPIC);
        call("queryTopicConsumeByWho", () -> admin.queryTopicConsumeByWho(TOPIC).getGroupList().toString(), GROUP);
        call("queryConsumeTimeSpan", () -> {
            var spans = admin.queryConsumeTimeSpan(TOPIC, GROUP);
            var first = spans.get(0);
            return spans.size() + " " + (first.getMaxTimeStamp() == first.getConsumeTimeStamp()) + " " + first.getDelayTime() + " "
                + (first.getMinTimeStamp() > 1_600_000_000_000L);
        }, "^4 true 0 true$");
        for (String[] counted : new String[][] {{"TOPIC_PUT_NUMS", TOPIC}, {"GROUP_GET_NUMS", TOPIC + "@" + GROUP}}) {
            call("viewBrokerStatsData " + counted[0], () -> {
                var data = admin.viewBrokerStatsData(address, counted[0], counted[1]);
                return data.getStatsMinute().getSum() + " " + data.getStatsHour().getSum() + " " + data.getStatsDay().getSum() + " "
                    + (data.getStatsMinute().getTps() > 0);
            }, "^\\d+ " + MESSAGES + " " + MESSAGES + " true$");
        }
        call("viewBrokerStatsData TOPIC_PUT_SIZE, GROUP_GET_SIZE", () -> {
            var in = admin.viewBrokerStatsData(address, "TOPIC_PUT_SIZE", TOPIC).getStatsDay();
            var out = admin.viewBrokerStatsData(address, "GROUP_GET_SIZE", TOPIC + "@" + GROUP).getStatsDay();
            return (in.getSum() == out.getSum()) + " " + (in.getAvgpt() > 150);
        }, "^true true$");
        call("viewBrokerStatsData BROKER_PUT_NUMS, BROKER_GET_NUMS", () -> {
            var in = admin.viewBrokerStatsData(address, "BROKER_PUT_NUMS", CLUSTER).getStatsHour();
            return (in.getSum() >= MESSAGES) + " " + (admin.viewBrokerStatsData(address, "BROKER_GET_NUMS", CLUSTER).getStatsHour().getSum() >= MESSAGES);
        }, "^true true$");
        call("updateAndGetGroupReadForbidden", () -> {
            boolean before = admin.updateAndGetGroupReadForbidden(address, GROUP, "mqadmin-list-1", null).getReadable();
            boolean closed = admin.updateAndGetGroupReadForbidden(address, GROUP, "mqadmin-list-1", false).getReadable();
            boolean open = admin.updateAndGetGroupReadForbidden(address, GROUP, "mqadmin-list-1", true).getReadable();
            return before + " " + closed + " " + open;
        }, "^true false true$");
    }

    static void messages(Path directory) throws Exception {
        String sent = shows(command("sendMessage", "-t", TOPIC, "-p", "by hand", "-k", "hand-key", "-c", "hand-tag", "-b", BROKER, "-i", "0"),
            BROKER + " +0 +SEND_OK +[0-9A-F]{32,}");
        String unique = find("SEND_OK +([0-9A-F]{32,})", sent);
        shows(command("queryMsgByKey", "-t", TOPIC, "-k", "hand-key"), unique + " +0 +10");
        shows(command("queryMsgByUniqueKey", "-t", TOPIC, "-i", unique),
            "Topic: +" + TOPIC, "Tags: +\\[hand-tag\\]", "Keys: +\\[hand-key\\]", "Queue ID: +0", "Queue Offset: +10");
        String byOffset = shows(command("queryMsgByOffset", "-t", TOPIC, "-b", BROKER, "-i", "0", "-o", "10", "-f", "UTF-8"),
            "OffsetID: +[0-9A-F]{32}", "Tags: +\\[hand-tag\\]", "Keys: +\\[hand-key\\]", "Message Body: +by hand", GROUP);
        String id = find("OffsetID: +([0-9A-F]{32})", byOffset);
        shows(command("queryMsgById", "-t", TOPIC, "-i", id, "-f", "UTF-8"), "OffsetID: +" + id, "Queue Offset: +10", "Keys: +\\[hand-key\\]", "Message Body: +by hand");
        shows(command("printMsg", "-t", TOPIC, "-d", "true"),
            "minOffset=0, maxOffset=11, MessageQueue \\[topic=" + TOPIC + ", brokerName=" + BROKER + ", queueId=0\\]", "BODY: by hand", "BODY: message 39");
        shows(command("printMsgByQueue", "-t", TOPIC, "-a", BROKER, "-i", "0", "-p", "true", "-d", "true", "-f", "true"),
            "Tag: tag-0 +Count: 10", "Tag: hand-tag +Count: 1", "BODY: by hand");
        shows(command("consumeMessage", "-t", TOPIC, "-b", BROKER, "-i", "0", "-o", "9", "-c", "2"), "MSGID: \\S+", "by hand");
        shows(command("checkMsgSendRT", "-t", "mqadmin-list-1", "-a", "5"), BROKER + " +\\d +true", "Avg RT: [0-9.]+");
        shows(command("sendMsgStatus", "-b", BROKER, "-c", "3"), "sendStatus=SEND_OK, msgId=\\S+", "brokerName=" + BROKER);
        shows(command("queryCq", "-t", TOPIC, "-q", "0", "-i", "9", "-c", "5", "-b", address),
            "max: 11, min: 0", "\"?physicOffset\"?[:=] ?\\d+", "\"?tagsCode\"?[:=] ?" + "hand-tag".hashCode());
        shows(command("queryCq", "-t", TOPIC, "-q", "0", "-i", "0", "-c", "1", "-b", address, "-g", "nobody"), "nobody@" + TOPIC + " is not online!");
    }

    static void offsets(DefaultMQAdminExt admin, long begin) throws Exception {
        String at = Pattern.quote(address);
        shows(command("cloneGroupOffset", "-s", GROUP, "-d", "mqadmin-clone", "-t", TOPIC),
            "clone group offset success. srcGroup\\[" + GROUP + "\\], destGroup=\\[mqadmin-clone\\]");
        call("cloneGroupOffset", () -> {
            admin.cloneGroupOffset(GROUP, "mqadmin-clone-2", TOPIC, true);
            return mqadmin("brokerConsumeStats", "-b", address);
        }, TOPIC + " +mqadmin-clone +" + BROKER + " +3 +10 +10 +0", TOPIC + " +mqadmin-clone-2 +" + BROKER + " +0 +11 +10 +1");
        shows(command("resetOffsetByTime", "-g", GROUP, "-t", TOPIC, "-s", Long.toString(begin)),
            "start reset consumer offset by specified, group\\[" + GROUP + "\\]", "(?m)^" + BROKER + " +0 +0 *$", "(?m)^" + BROKER + " +3 +0 *$");
        shows(command("consumerProgress", "-g", GROUP), TOPIC + " +" + BROKER + " +0 +11 +0 +", "Consume Diff Total: " + (MESSAGES + 1));
        shows(command("resetOffsetByTime", "-g", GROUP, "-t", TOPIC, "-s", "0", "-b", address, "-q", "0", "-o", "7"),
            "queueId\\[0\\], broker\\[" + at + "\\]", "reset consumer offset to 7");
        shows(command("consumerProgress", "-g", GROUP), TOPIC + " +" + BROKER + " +0 +11 +7 +", TOPIC + " +" + BROKER + " +1 +10 +0 +");
        shows(command("resetOffsetByTime", "-g", GROUP, "-t", TOPIC, "-s", "now"), "(?m)^" + BROKER + " +0 +11 *$");
        shows(command("resetOffsetByTime", "-g", GROUP, "-t", TOPIC, "-s", Long.toString(begin)), "(?m)^" + BROKER + " +1 +0 *$");
        shows(command("skipAccumulatedMessage", "-g", GROUP, "-t", TOPIC), "(?m)^" + BROKER + " +0 +11 *$", "(?m)^" + BROKER + " +3 +10 *$");
        shows(command("consumerProgress", "-g", GROUP), TOPIC + " +" + BROKER + " +0 +11 +11 +", "Consume Diff Total: 0");
        refuses(command("resetOffsetByTime", "-g", "mqadmin-nobody", "-t", TOPIC, "-s", "now"), "group 'mqadmin-nobody' does not exist");
    }

    static void broker(Path directory) throws Exception {
        String at = Pattern.quote(address);
        shows(command("clusterList"), CLUSTER + " +" + BROKER + " +0 +" + at + " +V5_", "!#Cluster Name.*\\n$");
        shows(command("clusterList", "-m"), "#InTotalYest", CLUSTER + " +" + BROKER + " +\\d+ +\\d+ +\\d+ +\\d+");
        shows(command("brokerStatus", "-b", address),
            "putTps +: [0-9.]+ [0-9.]+ [0-9.]+", "getTransferredTps +: [0-9.]+ [0-9.]+ [0-9.]+", "msgPutTotalTodayNow +: [1-9]\\d+",
            "msgGetTotalTodayNow +: [1-9]\\d+", "commitLogDirCapacity +: Total : \\S+ \\S+, Free : \\S+ \\S+\\.", "brokerVersion +: \\d+",
            "remainTransientStoreBufferNumbs +: 0", "bootTimestamp +: \\d{13}", "!putTps +: 0\\.0 0\\.0 0\\.0");
        shows(command("brokerStatus", "-c", CLUSTER), at + " +putMessageTimesTotal +: [1-9]");
        shows(command("getBrokerConfig", "-b", address), "brokerName +=  " + BROKER, "autoCreateTopicEnable +=  true", "brokerPermission +=  6");
        shows(command("getBrokerConfig", "-c", CLUSTER), "brokerClusterName +=  " + CLUSTER, "fileReservedTime +=  \\d+");
        shows(command("updateBrokerConfig", "-b", address, "-k", "autoCreateTopicEnable", "-v", "false"), "update broker config success, " + at);
        shows(command("getBrokerConfig", "-b", address), "autoCreateTopicEnable +=  false");
        shows(command("updateBrokerConfig", "-c", CLUSTER, "-k", "autoCreateTopicEnable", "-v", "true"), "update broker config success, " + at);
        shows(command("updateBrokerConfig", "-b", address, "-k", "brokerPermission", "-v", "4"), "update broker config success");
        await("the route says so", () -> mqadmin("topicRoute", "-t", TOPIC).replace(" ", "").contains("\"perm\":4"));
        shows(command("updateBrokerConfig", "-b", address, "-k", "brokerPermission", "-v", "6"), "update broker config success");
        await("the route says so", () -> mqadmin("topicRoute", "-t", TOPIC).replace(" ", "").contains("\"perm\":6"));
        refuses(command("updateBrokerConfig", "-b", address, "-k", "storePathRootDir", "-v", "/tmp/elsewhere"), "cannot be changed over the network");
        refuses(command("updateBrokerConfig", "-b", address, "-k", "maxMessageSize", "-v", "much"), "expected a whole number");
        shows(command("cleanExpiredCQ", "-b", address), "^success");
        shows(command("cleanUnusedTopic", "-b", address), "^success");
        shows(command("deleteExpiredCommitLog", "-b", address), "^success");
        shows(command("haStatus", "-b", address), "#MasterAddr\\t" + at, "#MasterCommitLogMaxOffset\\t[1-9]\\d+", "#SlaveNum\\t0");
        shows(command("exportConfigs", "-c", CLUSTER, "-f", directory.toString()), "export .*/configs.json success");
        check("configs.json", () -> read(directory.resolve("configs.json")), false, "\"brokerName\": ?\"" + BROKER, "\"clusterScale\"", "\"flushDiskType\"");
        shows(command("exportMetadata", "-c", CLUSTER, "-f", directory.toString()), "export .*/metadata.json success");
        check("metadata.json", () -> read(directory.resolve("metadata.json")), false, TOPIC, GROUP);
        shows(command("exportMetadata", "-b", address, "-t", "-f", directory.toString()), "export .*/topic.json success");
        shows(command("exportMetrics", "-c", CLUSTER, "-f", directory.toString()), "export .*/metrics.json success");
        check("metrics.json", () -> read(directory.resolve("metrics.json")), false, "\"messageAverageSize\"", "\"commitLogDiskRatio\"", "\"totalTps\"");
    }

    static void nameserver() throws Exception {
        shows(command("getNamesrvConfig"), "=====" + Pattern.quote(nameserver) + "=====", "enableTopicList +=  true");
        shows(command("updateNamesrvConfig", "-k", "orderMessageEnable", "-v", "true"), "update name server config success!", "orderMessageEnable : true");
        shows(command("getNamesrvConfig"), "orderMessageEnable +=  true");
        refuses(command("updateNamesrvConfig", "-k", "kvConfigPath", "-v", "/tmp/elsewhere"), "cannot be changed over the network");
        shows(command("updateKvConfig", "-s", "mqadmin-space", "-k", "key", "-v", "value"), "create or update kv config to namespace success");
        shows(command("deleteKvConfig", "-s", "mqadmin-space", "-k", "key"), "delete kv config from namespace success");
        shows(command("wipeWritePerm", "-b", BROKER), "wipe write perm of broker\\[" + BROKER + "\\] in name server\\[" + Pattern.quote(nameserver) + "\\] OK, [1-9]");
        shows(command("topicRoute", "-t", TOPIC), "\"perm\": ?4");
        shows(command("addWritePerm", "-b", BROKER), "add write perm of broker\\[" + BROKER + "\\] in name server\\[" + Pattern.quote(nameserver) + "\\] OK, [1-9]");
        shows(command("topicRoute", "-t", TOPIC), "\"perm\": ?6");
        shows(command("deleteTopic", "-c", CLUSTER, "-t", "mqadmin-list-2"),
            "delete topic \\[mqadmin-list-2\\] from cluster \\[" + CLUSTER + "\\] success", "delete topic \\[mqadmin-list-2\\] from NameServer success");
        shows(command("topicList"), "!mqadmin-list-2", "mqadmin-list-1");
        shows(command("topicList", "-c"), CLUSTER + " +" + TOPIC + " +" + GROUP);
    }

    public static void main(String[] arguments) throws Exception {
        nameserver = arguments[0];
        address = arguments[1];
        Path directory = Path.of(arguments[2]);
        only = arguments.length > 3 ? Pattern.compile(arguments[3]) : null;
        System.setProperty("rocketmq.namesrv.addr", nameserver);
        DefaultMQAdminExt admin = new DefaultMQAdminExt();
        admin.setNamesrvAddr(nameserver);
        admin.start();
        await("the broker is registered", () -> admin.examineBrokerClusterInfo().getBrokerAddrTable().containsKey(BROKER));
        long begin = System.currentTimeMillis() - 1000;
        topics(directory);
        groups(directory);

        DefaultMQProducer producer = new DefaultMQProducer(PRODUCERS);
        producer.setNamesrvAddr(nameserver);
        producer.start();
        for (int n = 0; n < MESSAGES; n++) {
            Message message = new Message(TOPIC, "tag-" + n % 4, "key-" + n, ("message " + n).getBytes(StandardCharsets.UTF_8));
            producer.send(message, new MessageQueue(TOPIC, BROKER, n % 4));
        }
        AtomicInteger consumed = new AtomicInteger();
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(GROUP);
        consumer.setNamesrvAddr(nameserver);
        consumer.setInstanceName("mqadmin-consumer");
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setPersistConsumerOffsetInterval(200);
        consumer.subscribe(TOPIC, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            consumed.addAndGet(messages.size());
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        await("all is consumed", () -> consumed.get() == MESSAGES);
        await("all is committed", () -> {
            var table = admin.examineConsumeStats(GROUP, TOPIC).getOffsetTable();
            return table.size() == 4 && table.values().stream().allMatch(row -> row.getConsumerOffset() == 10);
        });
        clients(admin, consumer.getDefaultMQPushConsumerImpl().getmQClientFactory().getClientId());
        consumer.shutdown();
        await("the consumer has left", () -> mqadmin("consumerConnection", "-g", GROUP).contains("Exception: "));
        messages(directory);
        offsets(admin, begin);
        broker(directory);
        nameserver();
        producer.shutdown();
        admin.shutdown();
        TERMINAL.println(passed + " passed, " + failed + " failed");
        System.exit(failed == 0 ? 0 : 1);
    }
}
