'use strict';
// A thin client of Holdfast, to be copied: no routing, but retries done right.
//
// Any store takes any request and passes it on, so a client may know nothing of ranges and leaders. What is left for it to do is here:
// ask another store when one fails, tell errors that did nothing from errors that may have done something, and give every write a
// request id, so that it is applied once however often it is sent. The rules are in docs/client-protocol.md.
//
//     npm install @grpc/grpc-js @grpc/proto-loader
//
//     const { Client } = require('./thin_client');
//     const client = new Client(['127.0.0.1:7300', '127.0.0.1:7310'], { protos: 'proto/proto' });
//     // tls: 'FOLDER' with tls.crt, tls.key and ca.crt, unless the fleet has no TLS
//     const version = await client.put(Buffer.from('greeting'), Buffer.from('hello'));
//     const { value } = await client.get(Buffer.from('greeting'));
//     for await (const row of client.scan(Buffer.from('a'), Buffer.from('n'))) console.log(row.key, row.value);
//
// Timestamps have 64 bits: they are BigInt here, and strings in messages.

const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const { performance } = require('node:perf_hooks');
const { setTimeout: sleep } = require('node:timers/promises');

const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const ATTEMPT_MS = 2_000; // An attempt may take this long before another store is asked.
const WAITS_MS = [50, 100, 200, 400]; // Before the second, third, ... attempt.
const MAX_AHEAD_MS = 59_000; // A last moment lies at most 60 s ahead of fleet time; a second is for the error of our estimate.
const CLOCK_OFFSET_MS = 500; // Clocks of stores may differ by this.
const MAX_SLOTS = 1_024;
const CHANNEL_OPTIONS = {
  // An answer may have 8 MiB; grpc-js takes 4 MiB unless told otherwise.
  'grpc.max_receive_message_length': 8 << 20,
  // A store that is cut off is noticed although it never closes the connection.
  'grpc.keepalive_time_ms': 2_000,
  'grpc.keepalive_timeout_ms': 2_000,
};
// Made by the gRPC library, or by a store that broke off: the request may have arrived and may have been done.
const MAY_HAVE_ARRIVED = new Set([
  grpc.status.UNAVAILABLE,
  grpc.status.DEADLINE_EXCEEDED,
  grpc.status.CANCELLED,
  grpc.status.UNKNOWN,
  grpc.status.INTERNAL,
]);
// Reasons after which the same attempt may be made again, here or elsewhere. Nothing was done, but for `ambiguous`.
const WORTH_ANOTHER_ATTEMPT = new Set([
  'not_leader',
  'wrong_range',
  'busy',
  'unavailable',
  'ambiguous',
  'deadline_exceeded',
]);

/** Nothing was done, and sending the same again would not help. `reason` is the field of a Rejection, or the gRPC code. */
class Refused extends Error {
  constructor(reason, message, rejection) {
    super(`${reason}: ${message}`);
    this.reason = reason;
    this.rejection = rejection;
  }
}

/** The deadline passed and nothing was done. */
class OutOfTime extends Error {}

/** The write was applied once or not at all, and it could not be found out in time. Read before writing again. */
class Ambiguous extends Error {}

/** The services and messages of our .proto files, made from them when the program starts. */
function load(protos) {
  const files = ['common', 'kv', 'fleet', 'admin'].map((name) => `holdfast/v1/${name}.proto`);
  files.push(path.join(__dirname, 'rpc_status.proto'));
  const options = { keepCase: true, longs: String, enums: String, defaults: true, oneofs: true, includeDirs: [protos] };
  const definition = loader.loadSync(files, options);
  return { definition, services: grpc.loadPackageDefinition(definition).holdfast.v1 };
}

/** The typed refusal in the details of a gRPC error; null when the error was made by a gRPC library. */
function rejectionOf(definition, error) {
  const [details] = error.metadata?.get('grpc-status-details-bin') ?? [];
  if (!details) return null;
  const status = definition['google.rpc.Status'].deserialize(details);
  const ours = status.details.find((detail) => detail.type_url.endsWith('/holdfast.v1.Rejection'));
  return ours ? definition['holdfast.v1.Rejection'].deserialize(ours.value) : null;
}

/** How often one call has been tried, and how long it may go on. */
class Retries {
  constructor(deadlineMs) {
    this.until = performance.now() + deadlineMs;
    this.waits = 0;
  }

  leftMs() {
    return Math.max(this.until - performance.now(), 0);
  }

  attemptMs() {
    return Math.max(Math.min(this.leftMs(), ATTEMPT_MS), 1);
  }

  async wait(atLeastMs, why) {
    // The random part is so that clients do not come back all at once.
    const wait = Math.max(atLeastMs, WAITS_MS[Math.min(this.waits, WAITS_MS.length - 1)]) * (1 + Math.random() / 2);
    this.waits += 1;
    if (wait >= this.leftMs()) throw new OutOfTime(String(why?.message ?? why));
    await sleep(wait);
  }
}

/** How a store is connected to. `tls`: the folder with our certificate. What stands there later is used by clients made later. */
function credentials(tls) {
  if (tls === undefined) return grpc.credentials.createInsecure();
  const [bundle, key, certificate] = ['ca.crt', 'tls.key', 'tls.crt'].map((name) => fs.readFileSync(path.join(tls, name)));
  return grpc.credentials.createSsl(bundle, key, certificate);
}

/** A program needs one for each fleet. */
class Client {
  constructor(addresses, { protos, deadlineMs = 10_000, tls }) {
    const { definition, services } = load(protos);
    this.definition = definition;
    const proof = credentials(tls);
    const stubs = (Service) => addresses.map((address) => new Service(address, proof, CHANNEL_OPTIONS));
    this.kv = stubs(services.Kv);
    this.fleet = stubs(services.Fleet);
    this.first = crypto.randomInt(addresses.length); // Whom to ask; moves on when that one fails.
    this.deadlineMs = deadlineMs;
    // The session: drawn anew in every life of the program, so that ids of an earlier life are never met again.
    const half = () => crypto.randomBytes(8).readBigUInt64BE().toString();
    this.client = { high: half(), low: half() };
    this.sequences = []; // The last one of each slot.
    this.freeSlots = [];
    this.forSlot = []; // Writes that wait for one.
    this.clock = null; // Fleet time, and our monotonic clock when we heard it, both in ms.
  }

  close() {
    for (const stub of [...this.kv, ...this.fleet]) stub.close();
  }

  // ---- operations

  /** The value and its version (`timestamp`); null when there is none. */
  async get(key, { keyspace = 0 } = {}) {
    return (await this.#read('Get', { keyspace, key })).value;
  }

  /** One answer a key, as `get` gives it. Keys of one range are read at one moment; there is none over several ranges. */
  async batchGet(keys, { keyspace = 0 } = {}) {
    return (await this.#read('BatchGet', { keyspace, keys })).values.map((found) => found.value);
  }

  /** Writes a key. Gives its version. */
  async put(key, value, { keyspace = 0, expiresAtMs = 0 } = {}) {
    const answer = await this.#write('Put', { keyspace, key, value, expires_at_ms: expiresAtMs });
    return BigInt(answer.written.timestamp);
  }

  async delete(key, { keyspace = 0 } = {}) {
    return BigInt((await this.#write('Delete', { keyspace, key })).written.timestamp);
  }

  /** Its `outcome` is either `written` or `condition_failed`, which says what the key looks like. */
  compareAndSet(condition, mutation, { keyspace = 0 } = {}) {
    return this.#write('CompareAndSet', { keyspace, condition, mutation });
  }

  /** Refused with `spans_ranges` when the keys lie in two ranges: cut it at `split_key`, or do without. */
  atomicBatch(mutations, { conditions = [], keyspace = 0 } = {}) {
    return this.#write('AtomicBatch', { keyspace, conditions, mutations });
  }

  /** Deletes page by page; each page is a write of its own. Gives how many keys existed. */
  async deleteRange(start, end, { keyspace = 0 } = {}) {
    let deleted = 0;
    for (let next = start; next; ) {
      const answer = await this.#write('DeleteRange', { keyspace, start: next, end });
      deleted += answer.deleted;
      next = answer._resume && answer.resume;
    }
    return deleted;
  }

  /**
   * Rows, from any number of ranges, those of a range as of one timestamp. A stream that breaks is opened again where the last page
   * ended, at the timestamp of that page if the range goes on.
   */
  async *scan(start, end, { reverse = false, keyspace = 0 } = {}) {
    const request = { keyspace, start, end, reverse };
    let retries = new Retries(this.deadlineMs);
    for (;;) {
      const stream = this.#stub(this.kv).Scan(request, { deadline: Date.now() + 60_000 });
      try {
        for await (const page of stream) {
          yield* page.rows;
          if (!page._resume) return;
          request[reverse ? 'end' : 'start'] = page.resume;
          request.part = page.part;
          retries = new Retries(this.deadlineMs); // It makes way: the next page has a deadline for itself.
        }
        return;
      } catch (error) {
        await this.#tryAgain(error, rejectionOf(this.definition, error), retries);
      } finally {
        stream.cancel();
      }
    }
  }

  // ---- retrying

  async #read(method, request) {
    const retries = new Retries(this.deadlineMs);
    for (;;) {
      try {
        return await this.#call(this.kv, method, request, retries);
      } catch (error) {
        await this.#tryAgain(error, rejectionOf(this.definition, error), retries);
      }
    }
  }

  /** Sends a write under one request id until it is known what became of it. */
  async #write(method, request) {
    const retries = new Retries(this.deadlineMs);
    const slot = await this.#takeSlot();
    try {
      return await this.#writeIn(slot, method, request, retries);
    } finally {
      // Also after an ambiguous end: a late attempt of this sequence can no longer touch a newer one.
      this.#giveBack(slot);
    }
  }

  async #writeIn(slot, method, request, retries) {
    const id = { client: this.client, slot, sequence: ++this.sequences[slot] };
    // The same in all attempts: the store keeps what became of the write until no attempt can come any more.
    let lastMoment = await this.#lastMoment(retries.leftMs());
    let mayBeDone = false;
    for (let attempt = 1; ; attempt++) {
      try {
        const write = { id, attempt, last_moment: lastMoment.toString() };
        return await this.#call(this.kv, method, { ...request, write }, retries);
      } catch (error) {
        const rejection = rejectionOf(this.definition, error);
        const reason = rejection?.reason;
        mayBeDone ||= reason === 'ambiguous' || (!reason && MAY_HAVE_ARRIVED.has(error.code));
        if (reason === 'past_last_moment' && !mayBeDone) {
          // Nothing was done under this id: only our idea of fleet time was wrong.
          this.#heardTime(rejection.past_last_moment.now);
          await retries.wait(0, error);
          lastMoment = await this.#lastMoment(retries.leftMs());
          continue;
        }
        try {
          await this.#tryAgain(error, rejection, retries);
        } catch (final) {
          // What this attempt met says nothing of an earlier one that was lost.
          if (mayBeDone || reason === 'stale_sequence') throw new Ambiguous(final.message, { cause: error });
          throw final;
        }
      }
    }
  }

  /** Returns after a wait when another attempt may help; throws when it cannot. */
  async #tryAgain(error, rejection, retries) {
    const reason = rejection?.reason;
    const again = reason ? WORTH_ANOTHER_ATTEMPT.has(reason) : MAY_HAVE_ARRIVED.has(error.code);
    if (!again) {
      if (error.code === undefined) throw error; // No error of a call, but of this program.
      throw new Refused(reason ?? grpc.status[error.code], error.details, rejection);
    }
    if (reason !== 'busy') this.first += 1; // Another store may know better, or at least live.
    await retries.wait(reason === 'busy' ? Number(rejection.busy.retry_after_ms) : 0, error);
  }

  #call(stubs, method, request, retries) {
    const deadline = Date.now() + retries.attemptMs();
    return new Promise((resolve, reject) => {
      const done = (error, answer) => (error ? reject(error) : resolve(answer));
      this.#stub(stubs)[method](request, { deadline }, done);
    });
  }

  #stub(stubs) {
    return stubs[this.first % stubs.length];
  }

  // ---- request ids

  /** A slot has one write at a time, and its sequence only grows. Few are better than many: each leaves a record. */
  async #takeSlot() {
    if (this.freeSlots.length > 0) return this.freeSlots.pop();
    if (this.sequences.length < MAX_SLOTS) return this.sequences.push(0) - 1;
    return new Promise((resolve) => this.forSlot.push(resolve));
  }

  #giveBack(slot) {
    const next = this.forSlot.shift();
    if (next) next(slot);
    else this.freeSlots.push(slot);
  }

  // ---- fleet time

  /** Until when stores may evaluate a write: in fleet time, which is never our wall clock. */
  async #lastMoment(leftMs) {
    const retries = new Retries(this.deadlineMs);
    while (!this.clock) {
      try {
        const { now } = await this.#call(this.fleet, 'Describe', {}, retries);
        // A store that is no member of a fleet yet does not know.
        if (now !== '0') {
          this.#heardTime(now);
        } else {
          this.first += 1;
          await retries.wait(0, 'the store is not a member of a fleet yet');
        }
      } catch (error) {
        if (error instanceof OutOfTime) throw error;
        await this.#tryAgain(error, rejectionOf(this.definition, error), retries);
      }
    }
    const since = performance.now() - this.clock.heardAt;
    return BigInt(Math.floor(this.clock.fleetMs + since + Math.min(leftMs + CLOCK_OFFSET_MS, MAX_AHEAD_MS))) << 16n;
  }

  /** A hybrid timestamp has 48 bits of milliseconds and 16 of a counter. */
  #heardTime(timestamp) {
    // Our idea of fleet time never goes back: a record is kept for as long as an earlier last moment may lie ahead of it, and no longer.
    const heardAt = performance.now();
    const carriedOn = this.clock ? this.clock.fleetMs + heardAt - this.clock.heardAt : 0;
    this.clock = { fleetMs: Math.max(Number(BigInt(timestamp) >> 16n), carriedOn), heardAt };
  }
}

module.exports = { Client, Refused, OutOfTime, Ambiguous, load, rejectionOf, CHANNEL_OPTIONS };
