// kafkajs in the matrix: BOOTSTRAP PREFIX T0 FIXTURE, one JSON line an operation. How many replicas its topics have is
// left to the broker. Beside gzip, which it has itself, it speaks snappy through its plug-in; its lz4 and zstd plug-ins
// need a compiler.
'use strict'

const { CompressionCodecs, CompressionTypes, ConfigResourceTypes, Kafka, logLevel } = require('kafkajs')

CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy')

const RECORDS = 100
const RESUME_AT = 60
const codecs = { none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy }

const [bootstrap, prefix, t0text, fixture] = process.argv.slice(2)
const t0 = Number(t0text)
const kafka = new Kafka({ clientId: 'kafkajs', brokers: [bootstrap], logLevel: logLevel.WARN })
const admin = kafka.admin()

function check(holds, message) {
  if (!holds) throw new Error(message)
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

async function until(ms, cond, message) {
  const deadline = Date.now() + ms
  while (!(await cond())) {
    check(Date.now() < deadline, message())
    await sleep(20)
  }
}

const key = (i) => (i % 10 === 9 ? null : `key-${i}`)
const value = (i) => (i % 10 === 5 ? null : `value-${i}-${'abc'.repeat(i)}`)
const text = (buffer) => (buffer === null ? null : buffer.toString())

async function step(op, run) {
  const began = Date.now()
  const out = { op, ok: true }
  try {
    out.detail = (await run()) || ''
  } catch (e) {
    console.error(e)
    Object.assign(out, { ok: false, error: String(e) })
  }
  console.log(JSON.stringify({ ...out, ms: Date.now() - began }))
  return out.ok
}

async function create() {
  const topics = [
    { topic: prefix, numPartitions: 4, configEntries: [{ name: 'retention.ms', value: '3600000' }] },
    { topic: `${prefix}-group`, numPartitions: 4 },
    { topic: `${prefix}-gone`, numPartitions: 1 },
    ...Object.keys(codecs).map((codec) => ({ topic: `${prefix}-${codec}`, numPartitions: 1 })),
  ]
  check(await admin.createTopics({ topics, waitForLeaders: true }), 'createTopics said false')
}

async function list() {
  let topics
  await until(5000, async () => {
    topics = await admin.listTopics()
    return topics.includes(prefix) && topics.includes(`${prefix}-none`)
  }, () => `listed ${topics}`)
}

async function configs() {
  const { resources } = await admin.describeConfigs({ resources: [{ type: ConfigResourceTypes.TOPIC, name: prefix }] })
  return Object.fromEntries(resources[0].configEntries.map((e) => [e.configName, e.configValue]))
}

async function describe() {
  const { topics } = await admin.fetchTopicMetadata({ topics: [prefix] })
  check(topics[0].partitions.length === 4, `${topics[0].partitions.length} partitions`)
  const config = await configs()
  check(config['retention.ms'] === '3600000', JSON.stringify(config))
}

async function config() {
  const configEntries = [
    { name: 'max.message.bytes', value: '200000' },
    { name: 'retention.ms', value: '3600000' }, // AlterConfigs replaces the whole set
  ]
  await admin.alterConfigs({ resources: [{ type: ConfigResourceTypes.TOPIC, name: prefix, configEntries }] })
  let now
  await until(5000, async () => {
    now = await configs()
    return now['max.message.bytes'] === '200000'
  }, () => JSON.stringify(now))
}

async function produce() {
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  try {
    for (const [codec, compression] of Object.entries(codecs)) {
      const messages = Array.from({ length: RECORDS }, (_, i) => ({
        key: key(i), value: value(i), partition: 0, timestamp: String(t0 + i * 1000), headers: { n: String(i) },
      }))
      const [sent] = await producer.send({ topic: `${prefix}-${codec}`, acks: -1, compression, messages })
      check(sent.errorCode === 0 && sent.baseOffset === '0', JSON.stringify(sent))
    }
  } finally {
    await producer.disconnect()
  }
  return Object.keys(codecs).join(' ')
}

// member joins a group and keeps count of what it holds. eachMessage decides what happens with records.
async function member(groupId, topic, eachMessage = async () => {}) {
  const consumer = kafka.consumer({ groupId, sessionTimeout: 6000, heartbeatInterval: 300, rebalanceTimeout: 6000, maxWaitTimeInMs: 250 })
  const state = { consumer, held: 0 }
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    state.held = Object.values(payload.memberAssignment).flat().length
  })
  consumer.on(consumer.events.REBALANCING, () => { state.held = 0 })
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  await consumer.run({ autoCommit: false, eachMessage: (payload) => eachMessage(payload, consumer) })
  return state
}

// read reads a topic from an offset; kafkajs reads through groups only.
async function read(topic, from, count) {
  const got = []
  const m = await member(`${prefix}-read-${topic}-${from}`, topic, async ({ message }) => { got.push(message) })
  try {
    m.consumer.seek({ topic, partition: 0, offset: String(from) })
    await until(20000, () => got.length >= count, () => `${got.length} records of ${count}`)
  } finally {
    await m.consumer.disconnect()
  }
  return got
}

async function consume() {
  for (const codec of Object.keys(codecs)) {
    const got = await read(`${fixture}-${codec}`, 0, RECORDS)
    for (let i = 0; i < RECORDS; i++) {
      const m = got[i]
      const same = m.offset === String(i) && text(m.key) === key(i) && text(m.value) === value(i) &&
        m.headers.n.toString() === String(i) && m.timestamp === String(t0 + i * 1000)
      check(same, `${codec}: record ${i} is ${JSON.stringify(m)}`)
    }
  }
  return Object.keys(codecs).join(' ')
}

async function group() {
  const topic = `${prefix}-group`
  const held = (members, want) => until(20000, () => members.every((m, i) => m.held === want[i]),
    () => `members hold ${members.map((m) => m.held)}, want ${want}`)
  const first = await member(`${prefix}-g`, topic)
  try {
    await held([first], [4])
    const second = await member(`${prefix}-g`, topic)
    try {
      await held([first, second], [2, 2])
    } finally {
      await second.consumer.disconnect()
    }
    await held([first], [4])
  } finally {
    await first.consumer.disconnect()
  }
}

async function resume() {
  const topic = `${fixture}-none`
  const groupId = `${prefix}-r`
  let seen = 0
  const first = await member(groupId, topic, async () => { seen++ })
  await until(20000, () => seen >= RESUME_AT, () => `${seen} records`)
  await first.consumer.commitOffsets([{ topic, partition: 0, offset: String(RESUME_AT) }])
  await first.consumer.disconnect()

  const offsets = []
  const second = await member(groupId, topic, async ({ message }) => { offsets.push(message.offset) })
  await until(20000, () => offsets.length > 0, () => 'no record')
  await second.consumer.disconnect()
  check(offsets[0] === String(RESUME_AT), `resumed at ${offsets[0]}`)
}

async function time() {
  const topic = `${fixture}-none`
  const [at] = await admin.fetchTopicOffsetsByTimestamp(topic, t0 + 49500)
  check(at.offset === '50', JSON.stringify(at))
  const [m] = await read(topic, 50, 1)
  check(text(m.key) === 'key-50', text(m.key))
}

async function groups() {
  const groupId = `${prefix}-r`
  const listed = (await admin.listGroups()).groups.map((g) => g.groupId)
  check(listed.includes(groupId), `listed ${listed}`)
  const described = (await admin.describeGroups([groupId])).groups[0]
  check(described.state === 'Empty', described.state)
  const [offsets] = await admin.fetchOffsets({ groupId, topics: [`${fixture}-none`] })
  check(offsets.partitions[0].offset === String(RESUME_AT), JSON.stringify(offsets))
  await admin.deleteGroups([groupId])
}

async function remove() {
  await admin.fetchTopicOffsets(`${prefix}-gzip`) // deleteTopicRecords looks for the leader in what is known already
  await admin.deleteTopicRecords({ topic: `${prefix}-gzip`, partitions: [{ partition: 0, offset: '0' }] })
  await admin.deleteTopics({ topics: [`${prefix}-gone`] })
  await until(10000, async () => !(await admin.listTopics()).includes(`${prefix}-gone`), () => 'still listed')
}

async function main() {
  await admin.connect()
  const steps = { create, list, describe, config, produce, consume, group, resume, time, groups, delete: remove }
  for (const [op, run] of Object.entries(steps)) {
    if (!(await step(op, run)) && op === 'create') break
  }
  await admin.disconnect()
}

main().then(() => process.exit(0), (e) => {
  console.error(e)
  process.exit(1)
})
