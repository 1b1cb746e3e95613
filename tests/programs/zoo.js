// V8 with a heap that is used, compiled code and workers. Says `ready PID`; a line has it print the address of an object, as V8 does.
// Run with --allow-natives-syntax.
const { Worker, isMainThread, parentPort } = require("node:worker_threads");

const kept = [];
for (let i = 0; i < 50000; i++) kept.push({ i, text: "x" + i });
let sum = 0;
for (let i = 0; i < 3e6; i++) sum += Math.sqrt(i) * (i % 7);

if (isMainThread) {
  kept.push(new Array(100000).fill(1.5), Buffer.alloc(9 << 20, 1), new WebAssembly.Memory({ initial: 10, maximum: 1000 }));
  const worker = new Worker(__filename);
  worker.on("message", () => console.log("ready", process.pid));
  process.stdin.on("data", () => %DebugPrint(kept));
  process.stdin.on("end", () => process.exit(0));
} else {
  parentPort.postMessage("up");
  setInterval(() => {}, 1e6);
}
