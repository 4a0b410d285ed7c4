// The names of senders whose signatures the server knows: a test compares them with
// internal/signature.
export const senders = [
  "adyen", "adyen-platform", "asana", "basic", "bitbucket", "box", "calendly", "circleci", "clerk", "cloudevents", "cloudflare-stream",
  "discord", "docusign", "dropbox", "gitea", "github", "gitlab", "gitlab-signing", "gitlab-token", "gocardless", "hmac", "hubspot",
  "hubspot-v1", "hubspot-v2", "intercom", "jira", "line", "linear", "mailchimp", "mailgun", "mandrill", "meta", "microsoft-graph", "mux",
  "netlify", "notion", "okta", "paddle", "pagerduty", "paypal", "postmark", "razorpay", "resend", "sendgrid", "sentry", "shopify", "slack",
  "square", "standard-webhooks", "standard-webhooks-ed25519", "strava", "stripe", "svix", "svix-headers", "telegram", "token", "trello",
  "twilio", "twitch", "typeform", "vercel", "webflow", "woocommerce", "workos", "x", "xero", "zendesk", "zoom",
];

/** Senders that publish the addresses they send from. */
export const lists = ["github", "linear", "stripe"];
