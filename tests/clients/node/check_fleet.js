'use strict';
// Fleet, and the standard services: health and reflection.

const assert = require('node:assert/strict');
const path = require('node:path');

const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

/** The client of a service whose .proto file comes with a package. */
function standard(address, file, pick) {
  const definition = loader.loadSync(file, { keepCase: true, enums: String, defaults: true, oneofs: true });
  const Service = pick(grpc.loadPackageDefinition(definition));
  return new Service(address, grpc.credentials.createInsecure());
}

const folder = (name) => path.dirname(require.resolve(`${name}/package.json`));

async function everyRange(world, request) {
  return (await world.fleet('Locate', { ...request, limit: 1_000 })).ranges.map((located) => located.descriptor);
}

module.exports = {
  async 'every store describes the same fleet'(world) {
    const described = await Promise.all(world.addresses.map((_, store) => world.fleet('Describe', {}, { store })));
    for (const answer of described) {
      assert.deepEqual(answer.fleet, described[0].fleet);
      assert(BigInt(answer.now) > 0n && answer.store_id !== '0');
      assert(answer.sites.length >= 3 && answer.sites.every((site) => site.name && site.stores > 0));
      const addresses = answer.stores.map((store) => store.client_address);
      assert(world.addresses.every((address) => addresses.includes(address)), String(addresses));
    }
    assert.equal(new Set(described.map((answer) => answer.store_id)).size, world.addresses.length);
  },

  async "status is the store's own"(world) {
    for (let store = 0; store < world.addresses.length; store++) {
      const status = await world.fleet('Status', {}, { store });
      assert.equal(status.store_id, (await world.fleet('Describe', {}, { store })).store_id);
      assert(status.version && status.site && Number(status.incarnation) > 0);
      assert(Number(status.ranges) > 0 && Number(status.leaders) <= Number(status.ranges));
    }
  },

  async 'ranges are located by key and by interval, in both directions'(world) {
    const key = world.rawKey('rows/b');
    const { ranges } = await world.fleet('Locate', { bounds: { start: key }, limit: 1 });
    assert.equal(ranges.length, 1);
    const { descriptor, leader, term } = ranges[0];
    assert(Buffer.compare(descriptor.bounds.start, key) <= 0 && Buffer.compare(key, descriptor.bounds.end) < 0);
    assert(world.addresses.includes(leader.address) && term !== '0');
    const sites = descriptor.replicas.map((replica) => replica.site);
    assert(sites.length >= 3 && new Set(sites).size === sites.length, String(sites));
    const all = await everyRange(world, {});
    assert.equal(all[0].bounds.start.length, 0);
    assert(!all.at(-1).bounds._end);
    for (let i = 1; i < all.length; i++) assert.deepEqual(all[i - 1].bounds.end, all[i].bounds.start);
    const ids = all.map((range) => range.range_id);
    assert.deepEqual((await everyRange(world, { reverse: true })).map((range) => range.range_id), [...ids].reverse());
  },

  async 'located ranges come page by page'(world) {
    const wanted = (await everyRange(world, {})).map((range) => range.range_id);
    for (const reverse of [false, true]) {
      const [bounds, found] = [{}, []];
      for (let goesOn = true; goesOn; ) {
        const answer = await world.fleet('Locate', { bounds, reverse, limit: 1 });
        found.push(...answer.ranges.map((located) => located.descriptor.range_id));
        goesOn = Boolean(answer._resume);
        if (goesOn) bounds[reverse ? 'end' : 'start'] = answer.resume;
      }
      assert.deepEqual(found, reverse ? [...wanted].reverse() : wanted);
    }
  },

  async 'a fleet is founded once'(world) {
    await world.refused('ALREADY_EXISTS', null, world.fleet('Init'));
  },

  async 'strangers do not join'(world) {
    const join = world.fleet('Join', { site: 'x', fleet: { high: 1, low: 2 } });
    await world.refused('PERMISSION_DENIED', null, join);
  },

  async 'health is told by the standard service'(world) {
    const file = path.join(folder('grpc-health-check'), 'proto/health/v1/health.proto');
    for (const address of world.addresses) {
      const health = standard(address, file, (root) => root.grpc.health.v1.Health);
      const check = (service) =>
        new Promise((resolve, reject) => {
          health.Check({ service }, (error, answer) => (error ? reject(error) : resolve(answer)));
        });
      for (const service of ['', 'holdfast.v1.Kv']) assert.equal((await check(service)).status, 'SERVING');
      await world.refused('NOT_FOUND', null, check('no.such.Service'));
      health.close();
    }
  },

  async 'services and files are told by reflection'(world) {
    for (const version of ['v1', 'v1alpha']) {
      const file = path.join(folder('@grpc/reflection'), `build/proto/grpc/reflection/${version}/reflection.proto`);
      const pick = (root) => root.grpc.reflection[version].ServerReflection;
      const reflection = standard(world.addresses[0], file, pick);
      const stream = reflection.ServerReflectionInfo();
      const answers = [];
      stream.write({ list_services: '' });
      stream.write({ file_containing_symbol: 'holdfast.v1.Kv' });
      stream.end();
      for await (const answer of stream) answers.push(answer);
      const services = answers[0].list_services_response.service.map((service) => service.name);
      for (const name of ['holdfast.v1.Kv', 'holdfast.v1.Fleet', 'holdfast.v1.Admin', 'grpc.health.v1.Health']) {
        assert(services.includes(name), `${name} is not among ${services}`);
      }
      assert(answers[1].file_descriptor_response.file_descriptor_proto.length > 0);
      reflection.close();
    }
  },
};
