// A web app as people write it for webhooks: what comes to /JUDGE is shown to that
// vendor's own library, with the settings that the library has by itself, and only what
// it accepts gets 200. Where the relay tells what a header was originally, the library is
// asked about that as well: would it have accepted the request as it came?
//
// SECRETS is a JSON object: judge, and the secret of its endpoint. LOCAL_URL is where the
// app believes to be, for libraries that check the address. It writes a line of JSON for
// each request, after the line with its port.
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import { judges } from '../../../signature/judge/judges.mjs';

const secrets = JSON.parse(process.env.SECRETS);

async function ask(judge, q) {
  try {
    return { ok: await judges[judge].verify(q) === true, error: '' };
  } catch (e) {
    return { ok: false, error: String(e?.message || e) };
  }
}

const server = createServer(async (req, res) => {
  const pieces = [];
  for await (const piece of req) pieces.push(piece);
  const body = Buffer.concat(pieces);
  const judge = decodeURIComponent(req.url.slice(1));
  const q = { method: req.method, url: process.env.LOCAL_URL + req.url, headers: req.headers, body, text: body.toString('utf8'), secret: secrets[judge] };
  const verdict = await ask(judge, q);
  const was = Object.entries(req.headers).filter(([name]) => name.startsWith('relay-original-')).map(([name, value]) => [name.slice('relay-original-'.length), value]);
  const original = was.length ? await ask(judge, { ...q, headers: { ...req.headers, ...Object.fromEntries(was) } }) : undefined;
  process.stdout.write(JSON.stringify({
    judge, ...verdict, original, sha256: createHash('sha256').update(body).digest('hex'),
    event: req.headers['relay-event-id'], attempt: req.headers['relay-attempt'], received: req.headers['relay-received-at'],
  }) + '\n');
  res.writeHead(verdict.ok ? 200 : 403).end();
});

server.listen(0, '127.0.0.1', () => process.stdout.write(JSON.stringify({ port: server.address().port }) + '\n'));
