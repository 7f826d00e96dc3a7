'use strict';
// Counts with the thin client while a fleet has trouble: every success must be in the counter once. `run node count` starts it.
//
// Prints a line for each hundred successes, until its standard input ends; then what the counter says, and what it should say, as JSON.

const path = require('node:path');

const { Ambiguous, Client } = require('./thin_client');

const WRITERS = 6;

async function main() {
  const protos = process.env.HOLDFAST_PROTO ?? path.join(__dirname, '../../../proto/proto');
  const { HOLDFAST_AT: at, HOLDFAST_TLS: tls } = process.env;
  const client = new Client(at.split(','), { protos, deadlineMs: 30_000, tls });
  const key = Buffer.from(`count/node/${process.pid}`);
  await client.put(key, Buffer.from('0'));
  const totals = { acknowledged: 0, ambiguous: 0 };
  let over = false;
  process.stdin.on('end', () => (over = true)).resume();

  const write = async () => {
    while (!over) {
      const found = await client.get(key);
      const value = Buffer.from(String(Number(found.value.toString()) + 1));
      try {
        const answer = await client.compareAndSet({ key, version: found.timestamp }, { key, value });
        if (answer.outcome === 'written' && ++totals.acknowledged % 100 === 0) console.log(totals.acknowledged);
      } catch (error) {
        if (!(error instanceof Ambiguous)) throw error;
        totals.ambiguous += 1;
      }
    }
  };
  await Promise.all(Array.from({ length: WRITERS }, write));
  const counted = Number((await client.get(key)).value.toString());
  console.log(JSON.stringify({ counted, ...totals }));
  client.close();
}

main();
