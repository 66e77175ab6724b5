// The TypeScript SDK, v1 line, as a client (legacy era).
import { createRequire } from "node:module";
import { OVER_HTTP, TARGET, elicited, rooted, run, sampled } from "./_scenario.mjs";

const require = createRequire(new URL("../../../.peers/node/", import.meta.url));
const { Client } = require("@modelcontextprotocol/sdk/client/index.js");
const { StdioClientTransport } = require("@modelcontextprotocol/sdk/client/stdio.js");
const { StreamableHTTPClientTransport } = require("@modelcontextprotocol/sdk/client/streamableHttp.js");
const types = require("@modelcontextprotocol/sdk/types.js");

const capabilities = { elicitation: { form: {} }, sampling: {}, roots: {} };
const client = new Client({ name: "ts1", version: "1.0" }, { capabilities });
const logged = [];
client.setRequestHandler(types.ElicitRequestSchema, ({ params }) => elicited(params));
client.setRequestHandler(types.CreateMessageRequestSchema, sampled);
client.setRequestHandler(types.ListRootsRequestSchema, rooted);
client.setNotificationHandler(types.LoggingMessageNotificationSchema, ({ params }) => void logged.push(params.data));

const changed = new Promise((resolve) =>
  client.setNotificationHandler(types.ToolListChangedNotificationSchema, () => resolve()),
);
const [command, ...args] = TARGET;
const transport = OVER_HTTP
  ? new StreamableHTTPClientTransport(new URL(TARGET[0]))
  : new StdioClientTransport({ command, args });
// The negotiated revision has no accessor in this line: the client hands it to the transport.
let revision = "";
const setProtocolVersion = transport.setProtocolVersion?.bind(transport);
transport.setProtocolVersion = (version) => {
  revision = version;
  setProtocolVersion?.(version);
};
await client.connect(transport);
await run({
  client,
  revision,
  session: transport.sessionId,
  logged,
  setLevel: (level) => client.setLoggingLevel(level),
  hearOfTools: async (action) => {
    await action();
    await changed;
  },
  call: (params, options) => client.callTool(params, undefined, options),
});
if (OVER_HTTP) await transport.terminateSession();
await client.close();
