// The interoperability server on the TypeScript SDK, v1 line (legacy era).
import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { Events } from "./_events.mjs";

const require = createRequire(new URL("../../../.peers/node/", import.meta.url));
const { McpServer, ResourceTemplate } = require("@modelcontextprotocol/sdk/server/mcp.js");
const { StreamableHTTPServerTransport } = require("@modelcontextprotocol/sdk/server/streamableHttp.js");
const { StdioServerTransport } = require("@modelcontextprotocol/sdk/server/stdio.js");
const { z } = require("zod");

const text = (value) => ({ content: [{ type: "text", text: value }] });
const contents = (uri, value) => ({ contents: [{ uri: uri.href, mimeType: "text/plain", text: value }] });

// The waits that were cut short.
let interrupted = 0;

function build() {
  const app = new McpServer({ name: "interop", version: "1.0" }, { capabilities: { logging: {} } });
  const tool = (name, description, inputSchema, handler) => app.registerTool(name, { description, inputSchema }, handler);

  tool("add", "Add two numbers.", { a: z.number().int(), b: z.number().int() }, ({ a, b }) => text(String(a + b)));
  tool("echo", "Return the text.", { text: z.string() }, (args) => text(args.text));
  tool("slow", "Wait.", { seconds: z.number() }, async ({ seconds }, { signal }) => {
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, seconds * 1000);
      signal.addEventListener("abort", () => (clearTimeout(timer), interrupted++, resolve()));
    });
    return text("done");
  });
  tool("interrupted", "Tell how many waits were cut short since the last time that this was asked.", {}, () => {
    const count = interrupted;
    interrupted = 0;
    return text(String(count));
  });
  tool("touch", "Announce that the list of tools has changed.", {}, () => {
    app.sendToolListChanged();
    return text("touched");
  });
  tool("fail", "Raise.", {}, () => {
    throw new Error("deliberate failure");
  });
  tool("progress", "Report progress.", { steps: z.number().int() }, async ({ steps }, { _meta, sendNotification }) => {
    for (let step = 1; step <= steps; step++) {
      const params = { progressToken: _meta.progressToken, progress: step, total: steps, message: `step ${step}` };
      await sendNotification({ method: "notifications/progress", params });
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return text("done");
  });
  tool("poll", "Send the client away while working, and tell whether that could be done.", {}, async (_, extra) => {
    extra.closeSSEStream?.();
    await new Promise((resolve) => setTimeout(resolve, 20));
    return text(extra.closeSSEStream === undefined ? "open" : "closed");
  });
  tool("log", "Log a message to the client.", { message: z.string() }, async ({ message }) => {
    await app.sendLoggingMessage({ level: "info", data: message });
    return text("logged");
  });
  tool("ask", "Ask the user.", { question: z.string() }, async ({ question }) => {
    const requestedSchema = { type: "object", properties: { answer: { type: "string" } }, required: ["answer"] };
    const outcome = await app.server.elicitInput({ message: question, requestedSchema });
    return text(outcome.action === "accept" ? outcome.content.answer : outcome.action);
  });
  tool("sample", "Ask the client's model.", { prompt: z.string() }, async ({ prompt }) => {
    const messages = [{ role: "user", content: { type: "text", text: prompt } }];
    return text((await app.server.createMessage({ messages, maxTokens: 100 })).content.text);
  });
  tool("roots", "Ask for the client's roots.", {}, async () => {
    return text((await app.server.listRoots()).roots.map((root) => root.uri).join(" "));
  });
  app.registerResource("fixed", "info://fixed", { mimeType: "text/plain" }, (uri) => contents(uri, "fixed text"));
  app.registerResource(
    "note",
    new ResourceTemplate("note://{name}", { list: undefined }),
    { mimeType: "text/plain" },
    (uri, { name }) => contents(uri, `note about ${name}`),
  );
  app.registerPrompt("review", { description: "Ask for a review.", argsSchema: { code: z.string() } }, ({ code }) => ({
    messages: [{ role: "user", content: { type: "text", text: `Please review: ${code}` } }],
  }));
  return app;
}

// A server and a transport for each session.
const sessions = new Map();
async function serve(request, response) {
  const known = sessions.get(request.headers["mcp-session-id"]);
  if (known !== undefined) return known.handleRequest(request, response);
  if (request.headers["mcp-session-id"] !== undefined) return response.writeHead(404).end();
  const transport = new StreamableHTTPServerTransport({
    sessionIdGenerator: randomUUID,
    eventStore: new Events(),
    retryInterval: 100,
    onsessioninitialized: (id) => sessions.set(id, transport),
    onsessionclosed: (id) => sessions.delete(id),
  });
  await build().connect(transport);
  return transport.handleRequest(request, response);
}

const port = process.argv[2];
if (port === undefined) await build().connect(new StdioServerTransport());
else createServer(serve).listen(Number(port), "127.0.0.1");
