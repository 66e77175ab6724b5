// The TypeScript SDK, v1 line, as a client (legacy era).
import { createRequire } from "node:module";
import { ARGS, COMMAND, elicited, rooted, run, sampled } from "./_scenario.mjs";

const require = createRequire(new URL("../../../.peers/node/", import.meta.url));
const { Client } = require("@modelcontextprotocol/sdk/client/index.js");
const { StdioClientTransport } = require("@modelcontextprotocol/sdk/client/stdio.js");
const types = require("@modelcontextprotocol/sdk/types.js");

const capabilities = { elicitation: { form: {} }, sampling: {}, roots: {} };
const client = new Client({ name: "ts1", version: "1.0" }, { capabilities });
const logged = [];
client.setRequestHandler(types.ElicitRequestSchema, ({ params }) => elicited(params));
client.setRequestHandler(types.CreateMessageRequestSchema, sampled);
client.setRequestHandler(types.ListRootsRequestSchema, rooted);
client.setNotificationHandler(types.LoggingMessageNotificationSchema, ({ params }) => void logged.push(params.data));

const transport = new StdioClientTransport({ command: COMMAND, args: ARGS });
// The negotiated revision has no accessor in this line: the client hands it to the transport.
let revision = "";
transport.setProtocolVersion = (version) => (revision = version);
await client.connect(transport);
await run({
  client,
  revision,
  logged,
  setLevel: (level) => client.setLoggingLevel(level),
  call: (params, options) => client.callTool(params, undefined, options),
});
await client.close();
