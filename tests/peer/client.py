"""The main cases of an application with the official C++ client, through the Python package that carries it ('rocketmq' 0.4.4);
run by 'clients': client.py NAMESERVER SUFFIX"""
import sys
import threading
import time

from rocketmq.client import Message, Producer, PullConsumer, PushConsumer

nameserver, suffix = sys.argv[1:3]


class Seen:
    """What a listener saw, by body."""

    def __init__(self):
        self.messages = []
        self.changed = threading.Condition()

    def add(self, message):
        with self.changed:
            # The client frees a message when its listener returns.
            self.messages.append((bytes(message).decode(), message.keys, message.tags, message.reconsume_times))
            self.changed.notify_all()
            return len(self.messages)

    def bodies(self):
        return {body for body, *_ in self.messages}

    def wait(self, count):
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.bodies()) >= count, 60), f"seen {self.messages}"


def message(topic, tag, body, change=lambda message: None):
    made = Message(topic)
    made.set_tags(tag)
    made.set_keys("key-" + body[:20])
    made.set_body(body)
    change(made)
    return made


def send(topic, tag, body, change=lambda message: None):
    sent = producer.send_sync(message(topic, tag, body, change))
    assert sent.status == 0, sent
    return sent


def consume(topic, expression, take, orderly=False):
    consumer = PushConsumer("g_" + topic, orderly=orderly)
    consumer.set_namesrv_addr(nameserver)
    consumer.set_instance_name(topic)
    consumer.subscribe(topic, take, expression)
    consumer.start()
    return consumer


def send_all_ways(topic):
    send(topic, "t", "sync")
    producer.send_oneway(message(topic, "t", "one way"))
    answered = threading.Event()
    failures = []

    def failed(error):
        failures.append(error)
        answered.set()

    producer.send_async(message(topic, "t", "async"), lambda result: answered.set(), failed)
    assert answered.wait(20) and not failures, failures
    producer.send_batch([message(topic, "t", f"batched {i}") for i in range(3)])
    send(topic, "t", "compressed " * 2000)
    seen = Seen()
    consumer = consume(topic, "*", seen.add)
    seen.wait(7)
    assert ("sync", "key-sync", "t", 0) in [tuple(part.decode() if isinstance(part, bytes) else part for part in one) for one in seen.messages]
    consumer.shutdown()


def tags(topic):
    for i in range(10):
        send(topic, "odd" if i % 2 else "even", f"m{i}")
    seen = Seen()
    consumer = consume(topic, "even || none", seen.add)
    seen.wait(5)
    assert seen.bodies() == {f"m{i}" for i in range(0, 10, 2)}, seen.messages
    consumer.shutdown()


def in_order(topic):
    for i in range(60):
        producer.send_orderly(message(topic, "t", f"{i % 4}:{i:03}"), i % 4)
    seen = Seen()
    consumer = consume(topic, "*", seen.add, orderly=True)
    seen.wait(60)
    last = {}
    for body, *_ in seen.messages:
        assert last.get(body[0], "") <= body, f"{body} after {last[body[0]]}"
        last[body[0]] = body
    consumer.shutdown()


def again(topic):
    send(topic, "t", "poison")
    seen = Seen()

    def take(one):
        if seen.add(one) == 1:
            raise ValueError("once more, please")

    consumer = consume(topic, "*", take)
    with seen.changed:
        assert seen.changed.wait_for(lambda: len(seen.messages) == 2, 60), f"seen {seen.messages}"
    assert [times for *_, times in seen.messages] == [0, 1], seen.messages
    consumer.shutdown()


def later(topic):
    send(topic, "t", "at once")
    begun = time.monotonic()
    send(topic, "t", "late", lambda one: one.set_delay_time_level(2))
    seen = Seen()
    consumer = consume(topic, "*", seen.add)
    seen.wait(2)
    assert time.monotonic() - begun >= 5, time.monotonic() - begun
    consumer.shutdown()


def polled(topic):
    for i in range(20):
        send(topic, "t", f"m{i}")
    consumer = PullConsumer("g_" + topic)
    consumer.set_namesrv_addr(nameserver)
    consumer.start()
    seen = Seen()
    end = time.monotonic() + 60
    while len(seen.bodies()) < 20 and time.monotonic() < end:
        for one in consumer.pull(topic):
            seen.add(one)
    assert len(seen.bodies()) == 20, seen.messages
    consumer.shutdown()


producer = Producer("clients_cpp")
producer.set_namesrv_addr(nameserver)
producer.start()
code = 0
for case in (send_all_ways, tags, in_order, again, later, polled):
    try:
        case(f"cpp_{case.__name__}{suffix}")
        print("PASS", case.__name__, flush=True)
    except Exception as failure:
        code = 1
        print(f"FAIL {case.__name__}: {failure}", flush=True)
producer.shutdown()
sys.stdout.flush()
sys.exit(code)
