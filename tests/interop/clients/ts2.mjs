// The TypeScript SDK, v2 line, as a client (both eras).
import { createRequire } from "node:module";
import { MODE, OVER_HTTP, TARGET, elicited, rooted, run, sampled } from "./_scenario.mjs";

const require = createRequire(new URL("../../../.peers/node/", import.meta.url));
const { Client, StreamableHTTPClientTransport } = require("@modelcontextprotocol/client");
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

const changed = new Promise((resolve) => client.setNotificationHandler("notifications/tools/list_changed", () => resolve()));

const [command, ...args] = TARGET;
const transport = OVER_HTTP
  ? new StreamableHTTPClientTransport(new URL(TARGET[0]))
  : new StdioClientTransport({ command, args });
await client.connect(transport);
const revision = client.getNegotiatedProtocolVersion();
const modern = revision >= "2026";
// In the modern era every request says whether it wants log messages.
const meta = modern ? { _meta: { "io.modelcontextprotocol/logLevel": "debug" } } : {};
await run({
  client,
  revision,
  session: transport.sessionId,
  logged,
  setLevel: (level) => (modern ? undefined : client.setLoggingLevel(level)),
  hearOfTools: async (action) => {
    const listening = modern ? await client.listen({ toolsListChanged: true }) : undefined;
    await action();
    await changed;
    await listening?.close();
  },
  call: (params, options) => client.callTool({ ...params, ...meta }, options),
});
if (OVER_HTTP && !modern) await transport.terminateSession();
await client.close();
