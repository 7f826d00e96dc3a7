'use strict';
// Checks a running fleet from Node.js: every operation, and every kind of refusal, with code generated from our .proto files.
//
//     HOLDFAST_AT=127.0.0.1:7300,127.0.0.1:7310,127.0.0.1:7320 node check.js
//
// HOLDFAST_AT has the client addresses of a fleet of at least three sites. HOLDFAST_PROTO names the folder with the .proto files; without
// it the one of the checkout is used. Prints a line for each check; exits with 1 when one fails. Keys of other programs are not touched.

const path = require('node:path');

const { World } = require('./checks');

// The first cuts ranges, so that the others meet several.
const MODULES = ['admin', 'kv', 'errors', 'once', 'stream', 'fleet', 'thin'];

async function main() {
  const addresses = (process.env.HOLDFAST_AT ?? '').split(',').map((address) => address.trim()).filter(Boolean);
  if (addresses.length === 0) {
    console.error('HOLDFAST_AT must name the client addresses of a running fleet: host:port,host:port,...');
    process.exit(1);
  }
  const protos = process.env.HOLDFAST_PROTO ?? path.join(__dirname, '../../../proto/proto');
  const world = new World(addresses, protos);
  let [count, failed] = [0, 0];
  for (const name of MODULES) {
    for (const [what, check] of Object.entries(require(`./check_${name}`))) {
      count += 1;
      try {
        await check(world);
        console.log(`ok    ${what}`);
      } catch (error) {
        failed += 1;
        console.log(`FAIL  ${what}\n${error.stack}`);
      }
    }
  }
  world.close();
  console.log(`node: ${count} checks, ${failed} of them failed`);
  process.exit(failed || !count ? 1 : 0);
}

main();
