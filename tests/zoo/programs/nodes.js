// The animals of the zoo that run on node: `node --expose-gc nodes.js NAME RATE`. As animals.c: a line in, a step, a line out.
const fs = require("node:fs");

const MIB = 1 << 20;
const [name, rate] = [process.argv[2], Number(process.argv[3])];
const kept = [];
let young = [];
let number = 12345;

function below(bound) {
  number = (number * 1103515245 + 12345) % 2147483648;
  return number % bound;
}

function about(mib) {
  return mib * rate * MIB * (0.8 + (0.4 * below(1000)) / 1000);
}

// About 200 bytes each.
function thing(i) {
  return { id: i + 0.5, next: [i, i + 1.5, { name: `thing ${i}` }], tags: [`a${i}`, i % 7] };
}

const animals = {
  "node-buffers": () => {
    for (let left = about(2); left > 0; left -= 200000) kept.push(Buffer.alloc(100000 + below(200000), 1));
  },
  "node-objects": () => {
    for (let left = about(2); left > 0; left -= 250) kept.push(thing(kept.length));
  },
  "node-collector": (tick) => {
    for (let left = about(5); left > 0; left -= 250) young.push(thing(young.length));
    if (tick % 6 === 5) young = [];
  },
  "node-idle": () => {},
};

const step = animals[name];
let tick = 0;
fs.writeSync(1, `ready ${process.pid}\n`);
require("node:readline")
  .createInterface({ input: process.stdin })
  .on("line", () => {
    step(++tick);
    // What the collector does by itself depends on the clock.
    globalThis.gc();
    fs.writeSync(1, "done\n");
  });
