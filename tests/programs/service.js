// A service on Node: `service.js busy` answers its own requests and leaks a little; `service.js idle` waits for some.
const http = require("node:http");

const kept = [];
const server = http.createServer((request, response) => {
  kept.push({ when: Date.now(), url: request.url, padding: "x".repeat(500) });
  response.end(JSON.stringify(kept.slice(-20)));
});
server.listen(0, "127.0.0.1", () => {
  if (process.argv[2] !== "busy") return;
  const url = `http://127.0.0.1:${server.address().port}/`;
  setInterval(() => http.get(url + kept.length, (answer) => answer.resume()), 10);
});
