// The TypeScript SDK's v1 client under measurement.
import { createRequire } from "node:module";
import { ARGS, CALLS, COMMAND, measure } from "./_measure.mjs";

const require = createRequire(new URL("../../.peers/node/", import.meta.url));
const { Client } = require("@modelcontextprotocol/sdk/client/index.js");
const { StdioClientTransport } = require("@modelcontextprotocol/sdk/client/stdio.js");
const { StreamableHTTPClientTransport } = require("@modelcontextprotocol/sdk/client/streamableHttp.js");

const client = new Client({ name: "bench", version: "1.0" });
const transport = COMMAND.startsWith("http://")
  ? new StreamableHTTPClientTransport(new URL(COMMAND))
  : new StdioClientTransport({ command: COMMAND, args: ARGS });
await client.connect(transport);
await measure((call) => client.callTool(call), CALLS);
await client.close();
