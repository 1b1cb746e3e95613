// Memory under load in Node, as it is told: a word in, a word out. Run with --expose-gc.
const { Worker } = require("node:worker_threads");
const readline = require("node:readline");

let kept = [];
let workers = [];
const work = `
  const { parentPort } = require("node:worker_threads");
  const mine = Array.from({ length: 20000 }, (_, i) => ({ i, text: "y".repeat(i % 50) }));
  parentPort.on("message", () => parentPort.close());
  parentPort.postMessage(mine.length);
`;

const words = {
  grow() {
    kept.push(Array.from({ length: 40000 }, (_, i) => ({ i, text: "x".repeat(i % 100), more: [i, i + 1] })));
    kept.push(Buffer.alloc(4 << 20, 1));
    kept.push(new Map(Array.from({ length: 20000 }, (_, i) => ["key" + i, { i }])));
  },
  enlarge() {
    kept = kept.map((thing) => (Buffer.isBuffer(thing) ? Buffer.concat([thing, thing.subarray(0, 1 << 20)]) : thing));
  },
  release() {
    kept = kept.filter((_, i) => i % 2);
    global.gc();
  },
  async start() {
    for (let i = 0; i < 2; i++) {
      const worker = new Worker(work, { eval: true });
      workers.push(worker);
      await new Promise((resolve) => worker.once("message", resolve));
    }
  },
  async join() {
    for (const worker of workers) {
      const gone = new Promise((resolve) => worker.once("exit", resolve));
      worker.postMessage("end");
      await gone;
    }
    workers = [];
  },
  jit() {
    for (let n = 0; n < 300; n++) {
      const f = new Function("x", `let s = ${n}; for (let i = 0; i < 500; i++) s += x * i % ${n + 1}; return s;`);
      for (let i = 0; i < 50; i++) f(i);
    }
  },
};

console.log(`ready ${process.pid}`);
(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    await words[line]();
    console.log("done");
  }
})();
