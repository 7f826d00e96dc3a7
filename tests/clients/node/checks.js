'use strict';
// What the checks share.

const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const { setTimeout: sleep } = require('node:timers/promises');

const grpc = require('@grpc/grpc-js');

const { load, rejectionOf, CHANNEL_OPTIONS } = require('./thin_client');

const DEADLINE_MS = 20_000;
// Nothing was done, and a moment later it may be: leaders move and ranges are cut while the checks run.
const PASSING = new Set(['not_leader', 'wrong_range', 'busy', 'unavailable']);

/** A running fleet, and names that no other run has. */
class World {
  constructor(addresses, protos) {
    this.addresses = addresses;
    this.protos = protos;
    const { definition, services } = load(protos);
    this.definition = definition;
    const stubs = (Service) =>
      addresses.map((address) => new Service(address, grpc.credentials.createInsecure(), CHANNEL_OPTIONS));
    this.stubs = { kv: stubs(services.Kv), fleet: stubs(services.Fleet), admin: stubs(services.Admin) };
    this.run = crypto.randomBytes(4).toString('hex');
    const half = () => crypto.randomBytes(8).readBigUInt64BE().toString();
    this.client = { high: half(), low: half() };
    this.lastSlot = -1;
  }

  close() {
    for (const stub of Object.values(this.stubs).flat()) stub.close();
  }

  /** One call. Made again when a store says that nothing was done and that this will pass. */
  async call(service, method, request, { store = 0, deadlineMs = DEADLINE_MS } = {}) {
    const until = Date.now() + deadlineMs;
    for (;;) {
      try {
        return await this.once(service, method, request, until, store);
      } catch (error) {
        if (!PASSING.has(rejectionOf(this.definition, error)?.reason) || Date.now() > until) throw error;
        await sleep(50);
      }
    }
  }

  once(service, method, request, deadline, store) {
    return new Promise((resolve, reject) => {
      const done = (error, answer) => (error ? reject(error) : resolve(answer));
      this.stubs[service][store][method](request, { deadline }, done);
    });
  }

  kv(method, request, options) {
    return this.call('kv', method, request, options);
  }

  fleet(method, request = {}, options = {}) {
    return this.call('fleet', method, request, options);
  }

  admin(method, request = {}, options = {}) {
    return this.call('admin', method, request, options);
  }

  /** All pages of a scan. */
  async scan(request) {
    const pages = [];
    const stream = this.stubs.kv[0].Scan(request, { deadline: Date.now() + DEADLINE_MS });
    for await (const page of stream) pages.push(page);
    return pages;
  }

  async rows(request) {
    return (await this.scan(request)).flatMap((page) => page.rows);
  }

  key(name) {
    return Buffer.from(`node/${this.run}/${name}`);
  }

  /** The first key behind all keys that begin with a name: the prefix with its last byte counted up. */
  prefixEnd(name) {
    const end = this.key(name);
    end[end.length - 1] += 1;
    return end;
  }

  /** A key as Fleet, Admin and Stream name it: four bytes of keyspace, then the key. */
  rawKey(name) {
    return Buffer.concat([Buffer.from([0, 0, 0, 1]), this.key(name)]);
  }

  async fleetMs() {
    return Number(BigInt((await this.fleet('Describe')).now) >> 16n);
  }

  /** A slot that no other check uses. */
  slot() {
    this.lastSlot += 1;
    return this.lastSlot;
  }

  /** One attempt of a write. A last moment half a minute ahead, unless another is given. */
  async attempt(slot, sequence, number, lastMomentMs = null) {
    const id = { client: this.client, slot, sequence };
    const ms = lastMomentMs ?? (await this.fleetMs()) + 30_000;
    return { id, attempt: number, last_moment: (BigInt(ms) << 16n).toString() };
  }

  /** Writes a key; gives its version. */
  async put(name, value, write = null, options = {}) {
    const answer = await this.kv('Put', { key: this.key(name), value: Buffer.from(value), write }, options);
    return BigInt(answer.written.timestamp);
  }

  /** The value of a key as text; null when there is none. */
  async get(name) {
    const { value } = await this.kv('Get', { key: this.key(name) });
    return value && value.value.toString();
  }

  /** How often a key was written: each version is read just below the one found before. */
  async versions(name) {
    let at = 0n;
    for (let count = 0; ; count++) {
      const { value } = await this.kv('Get', { key: this.key(name), at: at.toString() });
      if (!value) return count;
      at = BigInt(value.timestamp) - 1n;
    }
  }

  /** The typed refusal of a call that must fail. `reason` null: the status has no details. */
  async refused(code, reason, call) {
    let answer;
    try {
      answer = await call;
    } catch (error) {
      if (error.code === undefined) throw error;
      const rejection = rejectionOf(this.definition, error);
      assert.deepEqual([grpc.status[error.code], rejection?.reason ?? null], [code, reason], error.details);
      return rejection;
    }
    throw new Error(`${JSON.stringify(answer)} is no refusal`);
  }

  async invalid(call) {
    await this.refused('INVALID_ARGUMENT', 'invalid', call);
  }
}

const text = (rows) => rows.map((row) => row.key.toString());

module.exports = { World, text };
