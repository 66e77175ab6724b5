// The TypeScript SDK's v2 client under measurement.
import { createRequire } from "node:module";
import { ARGS, CALLS, COMMAND, measure } from "./_measure.mjs";

const require = createRequire(new URL("../../.peers/node/", import.meta.url));
const { Client } = require("@modelcontextprotocol/client");
const { StdioClientTransport } = require("@modelcontextprotocol/client/stdio");

const client = new Client({ name: "bench", version: "1.0" });
await client.connect(new StdioClientTransport({ command: COMMAND, args: ARGS }));
await measure((call) => client.callTool(call), CALLS);
await client.close();
