// Vendors' own libraries as judges of internal/signature. Each line of standard
// input is a question in JSON, each line of standard output its answer:
//
//   {"judge": "stripe", "do": "sign",   "secret": …, "method": …, "url": …, "headers": {…}, "body": base64}
//   {"headers": {…}}                      what the vendor adds to sign the request
//   {"judge": "stripe", "do": "verify", … the same …}
//   {"ok": true}                          or {"ok": false, "error": "why"}
//
// A header has one value here and its name is in lower case. With "at", in seconds, the
// vendor signs as of that time. A web app may import the judges too.
import { createHash, createPrivateKey, sign as nodeSign } from 'node:crypto';
import { createInterface } from 'node:readline';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const require = createRequire(import.meta.url);
const seconds = (q) => q.at || Math.floor(Date.now() / 1000);
const form = (q) => Object.fromEntries([...new Set(new URLSearchParams(q.text).keys())].map((name) => {
  const values = new URLSearchParams(q.text).getAll(name);
  return [name, values.length > 1 ? values : values[0]];
}));
const isForm = (q) => (q.headers['content-type'] || '').startsWith('application/x-www-form-urlencoded');
const item = (q) => JSON.parse(q.text).notificationItems[0].NotificationRequestItem;

function standard(load, names) {
  return {
    sign: async (q) => {
      const Webhook = await load();
      const at = new Date(seconds(q) * 1000);
      return { [names + '-id']: 'msg_fake', [names + '-timestamp']: String(seconds(q)), [names + '-signature']: new Webhook(q.secret).sign('msg_fake', at, q.text) };
    },
    verify: async (q) => {
      const Webhook = await load();
      new Webhook(q.secret).verify(q.text, q.headers);
      return true;
    },
  };
}

function hubspot(version, header) {
  const options = (q, timestamp) => ({ clientSecret: q.secret, requestBody: q.text, url: q.url, timestamp });
  return {
    sign: async (q) => {
      const { Signature } = require('@hubspot/api-client');
      const at = Date.now();
      return { [header]: Signature.getSignature(q.method, version, options(q, at)), 'x-hubspot-signature-version': version, 'x-hubspot-request-timestamp': String(at) };
    },
    verify: async (q) => {
      const { Signature } = require('@hubspot/api-client');
      return Signature.isValid({ method: q.method, signatureVersion: version, signature: q.headers[header], ...options(q, Number(q.headers['x-hubspot-request-timestamp'])) });
    },
  };
}

export const judges = {
  '@octokit/webhooks-methods': {
    sign: async (q) => ({ 'x-hub-signature-256': await (await import('@octokit/webhooks-methods')).sign(q.secret, q.text) }),
    verify: async (q) => (await import('@octokit/webhooks-methods')).verify(q.secret, q.text, q.headers['x-hub-signature-256']),
  },
  stripe: {
    sign: async (q) => {
      const { default: Stripe } = await import('stripe');
      return { 'stripe-signature': new Stripe('sk_test_fake').webhooks.generateTestHeaderString({ payload: q.text, secret: q.secret, timestamp: seconds(q) }) };
    },
    verify: async (q) => {
      const { default: Stripe } = await import('stripe');
      new Stripe('sk_test_fake').webhooks.constructEvent(q.body, q.headers['stripe-signature'], q.secret);
      return true;
    },
  },
  standardwebhooks: standard(async () => (await import('standardwebhooks')).Webhook, 'webhook'),
  svix: standard(async () => (await import('svix')).Webhook, 'svix'),
  twilio: {
    sign: async (q) => {
      const twilio = require('twilio');
      const { getExpectedTwilioSignature } = require('twilio/lib/webhooks/webhooks.js');
      return { 'x-twilio-signature': getExpectedTwilioSignature(q.secret, q.url, isForm(q) ? form(q) : {}) };
    },
    verify: async (q) => {
      const twilio = require('twilio');
      const sig = q.headers['x-twilio-signature'];
      return isForm(q) ? twilio.validateRequest(q.secret, sig, q.url, form(q)) : twilio.validateRequestWithBody(q.secret, sig, q.url, q.text);
    },
  },
  'hubspot v1': hubspot('v1', 'x-hubspot-signature'),
  'hubspot v2': hubspot('v2', 'x-hubspot-signature'),
  'hubspot v3': hubspot('v3', 'x-hubspot-signature-v3'),
  'adyen': {
    sign: async (q) => {
      const { hmacValidator } = require('@adyen/api-library');
      const body = JSON.parse(q.text);
      for (const i of body.notificationItems) i.NotificationRequestItem.additionalData = { hmacSignature: new hmacValidator().calculateHmac(i.NotificationRequestItem, q.secret) };
      return { body: Buffer.from(JSON.stringify(body)).toString('base64') };
    },
    verify: async (q) => new (require('@adyen/api-library').hmacValidator)().validateHMAC(item(q), q.secret),
  },
  'adyen platform': {
    sign: async (q) => ({ hmacsignature: new (require('@adyen/api-library').hmacValidator)().calculateHmac(q.text, q.secret) }),
    verify: async (q) => new (require('@adyen/api-library').hmacValidator)().validateHMACSignature(q.secret, q.headers.hmacsignature, q.text),
  },
  'discord-interactions': {
    // The package only verifies; node signs.
    sign: async (q) => {
      const at = String(seconds(q));
      const key = createPrivateKey({ key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), Buffer.from(q.secret, 'hex')]), format: 'der', type: 'pkcs8' });
      return { 'x-signature-timestamp': at, 'x-signature-ed25519': nodeSign(null, Buffer.concat([Buffer.from(at), q.body]), key).toString('hex') };
    },
    verify: async (q) => (await import('discord-interactions')).verifyKey(q.body, q.headers['x-signature-ed25519'], q.headers['x-signature-timestamp'], q.public),
  },
  '@slack/bolt': {
    verify: async (q) => require('@slack/bolt').isValidSlackRequest({
      signingSecret: q.secret, body: q.text,
      headers: { 'x-slack-signature': q.headers['x-slack-signature'], 'x-slack-request-timestamp': Number(q.headers['x-slack-request-timestamp']) },
    }),
  },
  '@shopify/shopify-api': {
    verify: async (q) => {
      await import('@shopify/shopify-api/adapters/node');
      const { shopifyApi, ApiVersion } = await import('@shopify/shopify-api');
      const shopify = shopifyApi({ apiKey: 'fake', apiSecretKey: q.secret, hostName: 'hooks.example.test', isEmbeddedApp: true, apiVersion: Object.values(ApiVersion)[0], logger: { log: () => {} } });
      const answer = await shopify.webhooks.validate({ rawBody: q.text, rawRequest: { method: q.method, url: '/in', headers: q.headers }, rawResponse: {} });
      if (!answer.valid) throw new Error(answer.reason);
      return true;
    },
  },
  square: {
    verify: async (q) => require('square').WebhooksHelper.verifySignature({ requestBody: q.text, signatureHeader: q.headers['x-square-hmacsha256-signature'], signatureKey: q.secret, notificationUrl: q.url }),
  },
  '@paddle/paddle-node-sdk': {
    verify: async (q) => new (require('@paddle/paddle-node-sdk').Paddle)('fake').webhooks.isSignatureValid(q.text, q.secret, q.headers['paddle-signature']),
  },
  '@linear/sdk': {
    verify: async (q) => {
      const { LinearWebhookClient } = await import('@linear/sdk/webhooks');
      return new LinearWebhookClient(q.secret).verify(q.body, q.headers['linear-signature'], JSON.parse(q.text).webhookTimestamp);
    },
  },
  '@sendgrid/eventwebhook': {
    // The package only verifies; node signs.
    sign: async (q) => {
      const at = String(seconds(q));
      const key = createPrivateKey({ key: Buffer.from(q.secret, 'base64'), format: 'der', type: 'pkcs8' });
      return { 'x-twilio-email-event-webhook-timestamp': at, 'x-twilio-email-event-webhook-signature': nodeSign('sha256', Buffer.concat([Buffer.from(at), q.body]), key).toString('base64') };
    },
    verify: async (q) => {
      const { EventWebhook } = require('@sendgrid/eventwebhook');
      const judge = new EventWebhook();
      return judge.verifySignature(judge.convertPublicKeyToECDSA(q.public), q.text, q.headers['x-twilio-email-event-webhook-signature'], q.headers['x-twilio-email-event-webhook-timestamp']);
    },
  },
  '@line/bot-sdk': {
    verify: async (q) => require('@line/bot-sdk').validateSignature(q.body, q.secret, q.headers['x-line-signature']),
  },
  'box-node-sdk': {
    verify: async (q) => {
      const { WebhooksManager } = require('box-node-sdk/lib/managers/webhooks');
      const headers = { ...q.headers, 'box-signature-version': '1', 'box-signature-algorithm': 'HmacSHA256' };
      return WebhooksManager.validateMessage(q.text, headers, q.secret);
    },
  },
  razorpay: {
    verify: async (q) => require('razorpay').validateWebhookSignature(q.text, q.headers['x-razorpay-signature'], q.secret),
  },
  '@mux/mux-node': {
    verify: async (q) => {
      const { default: Mux } = await import('@mux/mux-node');
      await new Mux({ tokenId: 'fake', tokenSecret: 'fake' }).webhooks.verifySignature(q.text, q.headers, q.secret);
      return true;
    },
  },
  '@workos-inc/node': {
    verify: async (q) => {
      const { WorkOS } = await import('@workos-inc/node');
      await new WorkOS('fake').webhooks.verifyHeader({ payload: JSON.parse(q.text), sigHeader: q.headers['workos-signature'], secret: q.secret });
      return true;
    },
  },
  'webflow-api': {
    verify: async (q) => new (require('webflow-api').WebflowClient)({ accessToken: 'fake' }).webhooks.verifySignature({ headers: q.headers, body: q.text, secret: q.secret }),
  },
  'gocardless-nodejs': {
    verify: async (q) => {
      require('gocardless-nodejs/webhooks').parse(q.text, q.secret, q.headers['webhook-signature']);
      return true;
    },
  },
  '@notionhq/client': {
    sign: async (q) => ({ 'x-notion-signature': await (require('@notionhq/client')).signWebhookPayload({ body: q.text, verificationToken: q.secret }) }),
    verify: async (q) => require('@notionhq/client').verifyWebhookSignature({ body: q.text, signature: q.headers['x-notion-signature'], verificationToken: q.secret }),
  },
  '@contentful/node-apps-toolkit': {
    sign: async (q) => {
      const { signRequest } = require('@contentful/node-apps-toolkit');
      return signRequest(q.secret, { method: q.method, path: new URL(q.url).pathname, headers: { 'content-type': q.headers['content-type'] }, body: q.text }, Date.now());
    },
    verify: async (q) => require('@contentful/node-apps-toolkit').verifyRequest(q.secret, { method: q.method, path: new URL(q.url).pathname, headers: q.headers, body: q.text }, 300),
  },
  jsonwebtoken: {
    sign: async (q) => ({ 'x-webhook-signature': require('jsonwebtoken').sign({ iss: 'netlify', sha256: createHash('sha256').update(q.body).digest('hex') }, q.secret, { algorithm: 'HS256', noTimestamp: true }) }),
    verify: async (q) => {
      const claims = require('jsonwebtoken').verify(q.headers['x-webhook-signature'], q.secret, { issuer: 'netlify', algorithms: ['HS256'] });
      return claims.sha256 === createHash('sha256').update(q.body).digest('hex');
    },
  },
};

// Libraries that print would spoil the answers.
console.log = console.info = console.warn = console.error;

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
    const q = JSON.parse(line);
    q.body = Buffer.from(q.body, 'base64');
    q.text = q.body.toString('utf8');
    let answer;
    try {
      const act = judges[q.judge]?.[q.do];
      if (!act) answer = { error: `${q.judge} does not ${q.do}` };
      else if (q.do === 'sign') answer = { headers: await act(q) };
      else answer = { ok: await act(q) === true };
    } catch (e) {
      answer = { ok: false, error: String(e?.message || e) };
    }
    process.stdout.write(JSON.stringify(answer) + '\n');
  }
}
