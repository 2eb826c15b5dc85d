// The main cases of an application with the official Go client; run by 'clients':
// go run . NAMESERVER BROKER SUFFIX
package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/admin"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
	"github.com/apache/rocketmq-client-go/v2/rlog"
)

var (
	nameserver, broker string
	background         = context.Background()
	sender             rocketmq.Producer
)

func resolver() primitive.NsResolver {
	return primitive.NewPassthroughResolver([]string{nameserver})
}

func check(holds bool, format string, values ...any) {
	if !holds {
		panic(fmt.Sprintf(format, values...))
	}
}

func must(err error, what string) {
	check(err == nil, "%s: %v", what, err)
}

// What a listener saw, by body.
type seen struct {
	lock   sync.Mutex
	bodies []string
}

func (s *seen) add(message *primitive.MessageExt) int {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.bodies = append(s.bodies, string(message.Body))
	return len(s.bodies)
}

func (s *seen) all() []string {
	s.lock.Lock()
	defer s.lock.Unlock()
	return append([]string{}, s.bodies...)
}

// Different bodies.
func (s *seen) count() int {
	bodies := map[string]bool{}
	for _, body := range s.all() {
		bodies[body] = true
	}
	return len(bodies)
}

func await(condition func() bool, format string, values ...any) {
	end := time.Now().Add(60 * time.Second)
	for !condition() {
		check(time.Now().Before(end), format, values...)
		time.Sleep(20 * time.Millisecond)
	}
}

func message(topic, tag, body string) *primitive.Message {
	return primitive.NewMessage(topic, []byte(body)).WithTag(tag).WithKeys([]string{"key-" + body})
}

func send(messages ...*primitive.Message) *primitive.SendResult {
	result, err := sender.SendSync(background, messages...)
	must(err, "send")
	check(result.Status == primitive.SendOK, "status of a send: %v", result)
	return result
}

type listener = func(context.Context, ...*primitive.MessageExt) (consumer.ConsumeResult, error)

func consume(topic, name string, selector consumer.MessageSelector, take listener, options ...consumer.Option) rocketmq.PushConsumer {
	options = append([]consumer.Option{
		consumer.WithGroupName("g_" + topic), consumer.WithInstance(name), consumer.WithNsResolver(resolver()),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
	}, options...)
	created, err := rocketmq.NewPushConsumer(options...)
	must(err, "consumer")
	must(created.Subscribe(topic, selector, take), "subscribe")
	must(created.Start(), "start of a consumer")
	return created
}

func into(found *seen) listener {
	return func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		for _, message := range messages {
			found.add(message)
		}
		return consumer.ConsumeSuccess, nil
	}
}

func tags(expression string) consumer.MessageSelector {
	return consumer.MessageSelector{Type: consumer.TAG, Expression: expression}
}

func sendAllWays(topic string) {
	send(message(topic, "t", "sync"))
	var answered sync.WaitGroup
	answered.Add(1)
	var failure error
	must(sender.SendAsync(background, func(_ context.Context, _ *primitive.SendResult, err error) {
		failure = err
		answered.Done()
	}, message(topic, "t", "async")), "async send")
	answered.Wait()
	must(failure, "async send")
	must(sender.SendOneWay(background, message(topic, "t", "one way")), "one-way send")
	send(message(topic, "t", "batched 1"), message(topic, "t", "batched 2"), message(topic, "t", "batched 3"))
	long := strings.Repeat("compressed ", 2000)
	send(message(topic, "t", long))
	found := &seen{}
	reader := consume(topic, topic, tags("*"), into(found))
	await(func() bool { return found.count() == 7 }, "seen %v", found)
	must(reader.Shutdown(), "shutdown")
}

func filters(topic string) {
	for i := 0; i < 10; i++ {
		sent := message(topic, []string{"even", "odd"}[i%2], fmt.Sprint("m", i))
		sent.WithProperty("n", fmt.Sprint(i))
		send(sent)
	}
	byTag, byCondition := &seen{}, &seen{}
	first := consume(topic, topic, tags("even || none"), into(byTag))
	second := consume(topic, topic+"_sql", consumer.MessageSelector{Type: consumer.SQL92, Expression: "n >= 7"}, into(byCondition),
		consumer.WithGroupName("s_"+topic))
	await(func() bool { return byTag.count() == 5 && byCondition.count() == 3 }, "by tag %v, by condition %v", byTag, byCondition)
	for _, body := range byTag.all() {
		check(strings.Contains("m0 m2 m4 m6 m8", body), "by tag: %s", body)
	}
	for _, body := range byCondition.all() {
		check(strings.Contains("m7 m8 m9", body), "by condition: %s", body)
	}
	must(first.Shutdown(), "shutdown")
	must(second.Shutdown(), "shutdown")
}

func inOrder(topic string) {
	for i := 0; i < 100; i++ {
		send(message(topic, "t", fmt.Sprintf("%d:%03d", i%4, i)).WithShardingKey(fmt.Sprint(i % 4)))
	}
	found := &seen{}
	// A second member waits for the first one's locks to run out, for this client does not always give them back.
	reader := consume(topic, topic, tags("*"), into(found), consumer.WithConsumerOrder(true))
	await(func() bool { return found.count() == 100 }, "seen %v", found)
	last := map[byte]string{}
	for _, body := range found.all() {
		check(last[body[0]] <= body, "%s after %s", body, last[body[0]])
		last[body[0]] = body
	}
	must(reader.Shutdown(), "shutdown")
}

func everybody(topic string) {
	send(message(topic, "other", "so that the topic is there"))
	each := []*seen{{}, {}}
	readers := []rocketmq.PushConsumer{}
	for i, found := range each {
		readers = append(readers, consume(topic, fmt.Sprint(topic, i), tags("t"), into(found), consumer.WithConsumerModel(consumer.BroadCasting)))
	}
	for i := 0; i < 10; i++ {
		send(message(topic, "t", fmt.Sprint("m", i)))
	}
	await(func() bool { return each[0].count() == 10 && each[1].count() == 10 }, "seen %v and %v", each[0], each[1])
	for _, reader := range readers {
		must(reader.Shutdown(), "shutdown")
	}
}

func again(topic string) {
	send(message(topic, "t", "poison"))
	found := &seen{}
	var times int32
	reader := consume(topic, topic, tags("*"), func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		if found.add(messages[0]) == 1 {
			return consumer.ConsumeRetryLater, nil
		}
		times = messages[0].ReconsumeTimes
		return consumer.ConsumeSuccess, nil
	})
	await(func() bool { return len(found.all()) == 2 }, "seen %v", found)
	check(times == 1, "retried %d times", times)
	must(reader.Shutdown(), "shutdown")
}

func later(topic string) {
	sent := time.Now()
	send(message(topic, "t", "late").WithDelayTimeLevel(2))
	found := &seen{}
	reader := consume(topic, topic, tags("*"), into(found))
	await(func() bool { return found.count() == 1 }, "nothing seen")
	check(time.Since(sent) >= 5*time.Second, "after %v", time.Since(sent))
	must(reader.Shutdown(), "shutdown")
}

// Leaves undecided what its body says, and decides it when asked.
type decider struct{}

func (decider) ExecuteLocalTransaction(message *primitive.Message) primitive.LocalTransactionState {
	switch string(message.Body) {
	case "committed":
		return primitive.CommitMessageState
	case "rolled back":
		return primitive.RollbackMessageState
	default:
		return primitive.UnknowState
	}
}

func (decider) CheckLocalTransaction(message *primitive.MessageExt) primitive.LocalTransactionState {
	if string(message.Body) == "asked about" {
		return primitive.CommitMessageState
	}
	return primitive.RollbackMessageState
}

func transactions(topic string) {
	send(message(topic, "other", "so that the topic is there"))
	bound, err := rocketmq.NewTransactionProducer(decider{}, producer.WithGroupName("t_"+topic), producer.WithInstanceName("t_"+topic),
		producer.WithNsResolver(resolver()))
	must(err, "transactional producer")
	must(bound.Start(), "start")
	for _, body := range []string{"rolled back", "committed", "asked about", "asked and rolled back"} {
		_, err := bound.SendMessageInTransaction(background, message(topic, "t", body))
		must(err, body)
	}
	found := &seen{}
	reader := consume(topic, topic, tags("t"), into(found))
	await(func() bool { return found.count() == 2 }, "seen %v", found)
	for _, body := range found.all() {
		check(body == "committed" || body == "asked about", "seen %s", body)
	}
	must(reader.Shutdown(), "shutdown")
	must(bound.Shutdown(), "shutdown")
}

func requests(topic string) {
	send(message(topic, "other", "so that the topic is there"))
	reader := consume(topic, topic, tags("ask"), func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		for _, message := range messages {
			reply, err := consumer.CreateReplyMessage(message, []byte("re: "+string(message.Body)))
			must(err, "reply")
			// This client forgets to; a reply without a body arrives too.
			if string(message.Body) != "silent?" {
				reply.Body = []byte("re: " + string(message.Body))
			}
			send(reply)
		}
		return consumer.ConsumeSuccess, nil
	})
	reply, err := sender.Request(background, 40*time.Second, message(topic, "ask", "who?"))
	must(err, "request")
	check(string(reply.Body) == "re: who?", "reply: %s", reply.Body)
	reply, err = sender.Request(background, 40*time.Second, message(topic, "ask", "silent?"))
	must(err, "request with an empty reply")
	check(len(reply.Body) == 0, "reply: %s", reply.Body)
	must(reader.Shutdown(), "shutdown")
}

func polled(topic string) {
	for i := 0; i < 20; i++ {
		send(message(topic, "t", fmt.Sprint("m", i)))
	}
	reader, err := rocketmq.NewPullConsumer(consumer.WithGroupName("g_"+topic), consumer.WithInstance(topic), consumer.WithNsResolver(resolver()),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset))
	must(err, "pull consumer")
	must(reader.Subscribe(topic, tags("*")), "subscribe")
	must(reader.Start(), "start")
	found := &seen{}
	await(func() bool {
		request, err := reader.Poll(background, time.Second)
		if err == nil {
			for _, message := range request.GetMsgList() {
				found.add(message)
			}
			reader.ACK(background, request, consumer.ConsumeSuccess)
		}
		return found.count() == 20
	}, "seen %v", found)
	must(reader.Shutdown(), "shutdown")
}

func administration(topic string) {
	tool, err := admin.NewAdmin(admin.WithResolver(resolver()))
	must(err, "admin")
	must(tool.CreateTopic(background, admin.WithTopicCreate(topic), admin.WithBrokerAddrCreate(broker), admin.WithReadQueueNums(3),
		admin.WithWriteQueueNums(3)), "create")
	listed := func() bool {
		topics, err := tool.FetchAllTopicList(background)
		must(err, "list")
		for _, name := range topics.TopicList {
			if name == topic {
				return true
			}
		}
		return false
	}
	await(listed, "not listed")
	queues, err := tool.FetchPublishMessageQueues(background, topic)
	must(err, "queues")
	check(len(queues) == 3, "queues: %v", queues)
	groups, err := tool.GetAllSubscriptionGroup(background, broker, 5*time.Second)
	must(err, "groups")
	check(len(groups.SubscriptionGroupTable) > 0, "no groups")
	must(tool.DeleteTopic(background, admin.WithTopicDelete(topic), admin.WithBrokerAddrDelete(broker)), "delete")
	await(func() bool { return !listed() }, "still listed")
	must(tool.Close(), "close")
}

func run(name string, work func(string), topic string) (passed bool) {
	defer func() {
		if failure := recover(); failure != nil {
			fmt.Println("FAIL", name+":", failure)
		}
	}()
	work(topic)
	fmt.Println("PASS", name)
	return true
}

func main() {
	nameserver, broker = os.Args[1], os.Args[2]
	rlog.SetLogLevel("error")
	sender, _ = rocketmq.NewProducer(producer.WithGroupName("clients_go"), producer.WithNsResolver(resolver()), producer.WithRetry(2),
		producer.WithQueueSelector(producer.NewHashQueueSelector()))
	must(sender.Start(), "start of a producer")
	cases := []struct {
		name string
		work func(string)
	}{
		{"send_all_ways", sendAllWays}, {"filters", filters}, {"in_order", inOrder}, {"everybody", everybody}, {"again", again},
		{"later", later}, {"transactions", transactions}, {"requests", requests}, {"polled", polled}, {"administration", administration},
	}
	code := 0
	for _, c := range cases {
		if !run(c.name, c.work, "go_"+c.name+os.Args[3]) {
			code = 1
		}
	}
	sender.Shutdown()
	os.Exit(code)
}
