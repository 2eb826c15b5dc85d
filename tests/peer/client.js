// The main cases of an application with a client written in JavaScript (package 'ali-ons'); run by 'clients'.
'use strict';
const assert = require('assert');
const path = require('path');
const [ nameserver, suffix, modules ] = process.argv.slice(2);
const { Producer, Consumer, Message } = require(path.join(modules, 'ali-ons'));

const quiet = { info() {}, warn() {}, debug() {}, error: (...words) => console.error(...words) };
const common = { httpclient: {}, accessKeyId: 'none', accessKeySecret: 'none', nameSrv: nameserver, logger: quiet };

const within = (promise, what) => Promise.race([ promise, new Promise((_, no) => setTimeout(() => no(new Error(`${what} within 40 s`)), 40000).unref()) ]);

// Takes messages until `wanted` says that they are enough.
async function consume(topic, subscription, take, wanted) {
  const consumer = new Consumer({ ...common, consumerGroup: `g_${topic}`, consumeFromWhere: 'CONSUME_FROM_FIRST_OFFSET' });
  consumer.on('error', failure => console.error(failure));
  const seen = [];
  await within(new Promise(resolve => {
    consumer.subscribe(topic, subscription, async message => {
      const answer = take(message, seen);
      seen.push(message);
      if (wanted(seen)) resolve();
      return answer;
    });
  }), `messages of ${topic}`);
  await consumer.close();
  return seen;
}

async function send(producer, topic, tag, body, change = () => {}) {
  const message = new Message(topic, tag, body);
  change(message);
  const sent = await producer.send(message);
  assert.strictEqual(sent.sendStatus, 'SEND_OK');
  return sent;
}

const bodies = seen => new Set(seen.map(message => message.body.toString()));

const cases = {
  async send_and_consume(topic, producer) {
    const sent = [ 'plain', 'ünïcödé ✓', 'x'.repeat(20000) ];
    for (const body of sent) await send(producer, topic, 't', body, message => { message.keys = [ 'k' ]; });
    const seen = await consume(topic, '*', () => {}, all => bodies(all).size === 3);
    assert.deepStrictEqual(bodies(seen), new Set(sent));
    assert.strictEqual(seen[0].keys, 'k');
  },
  async tags(topic, producer) {
    for (let i = 0; i < 10; i++) await send(producer, topic, i % 2 ? 'odd' : 'even', `m${i}`);
    const seen = await consume(topic, 'even || none', () => {}, all => bodies(all).size === 5);
    assert(seen.every(message => message.tags === 'even'));
  },
  async conditions(topic, producer) {
    for (let i = 0; i < 10; i++) await send(producer, topic, 't', `m${i}`, message => { message.properties.n = `${i}`; });
    const seen = await consume(topic, { expressionType: 'SQL92', subString: 'n >= 7' }, () => {}, all => bodies(all).size === 3);
    assert.deepStrictEqual(bodies(seen), new Set([ 'm7', 'm8', 'm9' ]));
  },
  async again(topic, producer) {
    await send(producer, topic, 't', 'poison');
    const seen = await consume(topic, '*', (message, all) => (all.length === 0 ? Consumer.ACTION_RETRY : undefined), all => all.length === 2);
    assert.strictEqual(bodies(seen).size, 1);
  },
  async later(topic, producer) {
    await send(producer, topic, 't', 'late', message => { message.delayTimeLevel = 2; });
    const [ message ] = await consume(topic, '*', () => {}, all => all.length === 1);
    assert(Date.now() - message.bornTimestamp >= 5000);
  },
};

(async () => {
  const producer = new Producer({ ...common, producerGroup: 'clients_js' });
  await producer.ready();
  let failed = 0;
  for (const [ name, run ] of Object.entries(cases)) {
    try {
      await run(`js_${name}${suffix}`, producer);
      console.log(`PASS ${name}`);
    } catch (failure) {
      failed++;
      console.error(failure);
      console.log(`FAIL ${name}: ${failure.message}`);
    }
  }
  process.exit(failed);
})();
