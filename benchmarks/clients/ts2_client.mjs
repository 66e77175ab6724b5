// The TypeScript SDK's v2 client under measurement.
import { createRequire } from "node:module";
import { ARGS, CALLS, COMMAND, measure } from "./_measure.mjs";

const require = createRequire(new URL("../../.peers/node/", import.meta.url));
const { Client, StreamableHTTPClientTransport } = require("@modelcontextprotocol/client");
const { StdioClientTransport } = require("@modelcontextprotocol/client/stdio");

const OVER_HTTP = COMMAND.startsWith("http://");
const options = OVER_HTTP && ARGS[0] !== "legacy" ? { versionNegotiation: { mode: { pin: ARGS[0] } } } : {};
const client = new Client({ name: "bench", version: "1.0" }, options);
const transport = OVER_HTTP
  ? new StreamableHTTPClientTransport(new URL(COMMAND))
  : new StdioClientTransport({ command: COMMAND, args: ARGS });
await client.connect(transport);
await measure((call) => client.callTool(call), CALLS);
await client.close();
