// The TypeScript SDK, v2 line, as a client (both eras).
import { createRequire } from "node:module";
import { ARGS, COMMAND, MODE, elicited, rooted, run, sampled } from "./_scenario.mjs";

const require = createRequire(new URL("../../../.peers/node/", import.meta.url));
const { Client } = require("@modelcontextprotocol/client");
const { StdioClientTransport } = require("@modelcontextprotocol/client/stdio");

const client = new Client(
  { name: "ts2", version: "1.0" },
  {
    capabilities: { elicitation: { form: {} }, sampling: {}, roots: {} },
    versionNegotiation: { mode: MODE === "legacy" || MODE === "auto" ? MODE : { pin: MODE } },
  },
);
const logged = [];
client.setRequestHandler("elicitation/create", ({ params }) => elicited(params));
client.setRequestHandler("sampling/createMessage", sampled);
client.setRequestHandler("roots/list", rooted);
client.setNotificationHandler("notifications/message", ({ params }) => void logged.push(params.data));

await client.connect(new StdioClientTransport({ command: COMMAND, args: ARGS }));
const revision = client.getNegotiatedProtocolVersion();
const modern = revision >= "2026";
// In the modern era every request says whether it wants log messages.
const meta = modern ? { _meta: { "io.modelcontextprotocol/logLevel": "debug" } } : {};
await run({
  client,
  revision,
  logged,
  setLevel: (level) => (modern ? undefined : client.setLoggingLevel(level)),
  call: (params, options) => client.callTool({ ...params, ...meta }, options),
});
await client.close();
