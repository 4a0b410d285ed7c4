package signature

import "time"

// code are forges, builds, hosting and the tools around them. Gitea stands
// before GitHub because it sends the headers of both.
var code = []Scheme{
	{
		// A form has the document in its field payload, and that alone is signed.
		Name: "gitea", Title: "Gitea or Forgejo",
		Header:    []string{"X-Gitea-Signature", "X-Forgejo-Signature", "X-Gogs-Signature"},
		Algorithm: HMACSHA256, Encoding: Hex, Content: body,
		ID:    []Source{"header:X-Gitea-Delivery", "header:X-Forgejo-Delivery", "header:X-Gogs-Delivery"},
		Type:  []Source{"header:X-Gitea-Event", "header:X-Forgejo-Event", "header:X-Gogs-Event"},
		Signs: []string{"X-Gitea-Event", "X-Forgejo-Event", "X-Gogs-Event"},
	},
	{
		Name: "github", Title: "GitHub",
		Header: one("X-Hub-Signature-256"), Prefix: "sha256=",
		Algorithm: HMACSHA256, Encoding: Hex, Content: body,
		ID: []Source{"header:X-GitHub-Delivery"}, Type: []Source{"header:X-GitHub-Event"}, Signs: []string{"X-GitHub-Event"},
	},
	{
		Name: "gitlab", Title: "GitLab", Any: []string{"gitlab-signing", "gitlab-token"},
		ID:   []Source{"header:Webhook-Id", "header:Idempotency-Key", "header:X-Gitlab-Event-UUID"},
		Type: []Source{"header:X-Gitlab-Event"}, Signs: []string{"X-Gitlab-Event", "X-Gitlab-Token"},
	},
	{
		Name: "gitlab-signing", Title: "GitLab, signing token", Family: "gitlab",
		Header: one("Webhook-Signature"), Split: " ", Prefix: "v1,",
		Algorithm: HMACSHA256, Encoding: Base64, Key: Whsec, Content: []string{"{id}.{timestamp}.{body}"},
		Timestamp: "header:Webhook-Timestamp", Unit: Seconds, Tolerance: fiveMinutes, MessageID: "header:Webhook-Id",
		Type: []Source{"header:X-Gitlab-Event"},
	},
	{
		Name: "gitlab-token", Title: "GitLab, secret token", Family: "gitlab",
		Header: one("X-Gitlab-Token"), Algorithm: Token,
		ID: []Source{"header:Idempotency-Key", "header:X-Gitlab-Event-UUID"}, Type: []Source{"header:X-Gitlab-Event"},
	},
	{
		Name: "jira", Title: "Jira",
		Header: one("X-Hub-Signature"), Prefix: "sha256=",
		Algorithm: HMACSHA256, Encoding: Hex, Content: body,
		ID: []Source{"header:X-Atlassian-Webhook-Identifier"}, Type: []Source{"body:webhookEvent"}, Signs: []string{"X-Atlassian-Webhook-Identifier"},
	},
	{
		Name: "bitbucket", Title: "Bitbucket",
		Header: one("X-Hub-Signature"), Prefix: "sha256=",
		Algorithm: HMACSHA256, Encoding: Hex, Content: body,
		ID: []Source{"header:X-Request-UUID", "header:X-Request-Id"}, Type: []Source{"header:X-Event-Key"}, Signs: []string{"X-Event-Key"},
	},
	{
		// The time is inside the signed body, so a late delivery cannot get a new one.
		Name: "linear", Title: "Linear",
		Header: one("Linear-Signature"), Algorithm: HMACSHA256, Encoding: Hex, Content: body,
		Timestamp: "body:webhookTimestamp", Unit: Millis, Tolerance: time.Minute,
		ID: []Source{"header:Linear-Delivery"}, Type: []Source{"header:Linear-Event", "body:type"}, Signs: []string{"Linear-Signature"},
	},
	{
		Name: "sentry", Title: "Sentry",
		Header: one("Sentry-Hook-Signature"), Algorithm: HMACSHA256, Encoding: Hex, Content: body,
		ID: []Source{"header:Request-ID"}, Type: []Source{"header:Sentry-Hook-Resource"}, Signs: []string{"Sentry-Hook-Signature", "Sentry-Hook-Resource"},
	},
	{
		Name: "pagerduty", Title: "PagerDuty",
		Header: one("X-PagerDuty-Signature"), Split: ",", Prefix: "v1=",
		Algorithm: HMACSHA256, Encoding: Hex, Content: body,
		ID: []Source{"body:event.id"}, Type: []Source{"body:event.event_type"}, Signs: []string{"X-PagerDuty-Signature", "X-Webhook-Subscription"},
	},
	{
		Name: "circleci", Title: "CircleCI",
		Header: one("Circleci-Signature"), Split: ",", Prefix: "v1=",
		Algorithm: HMACSHA256, Encoding: Hex, Content: body,
		ID: []Source{"body:id"}, Type: []Source{"header:Circleci-Event-Type", "body:type"}, Signs: []string{"Circleci-Signature", "Circleci-Event-Type"},
	},
	{
		// HMAC-SHA1, whatever others write about it.
		Name: "vercel", Title: "Vercel",
		Header: one("X-Vercel-Signature"), Algorithm: HMACSHA1, Encoding: Hex, Content: body,
		ID: []Source{"body:id"}, Type: []Source{"body:type"}, Signs: []string{"X-Vercel-Signature"},
	},
	{
		Name: "netlify", Title: "Netlify",
		Header: one("X-Webhook-Signature"), Prefix: "netlify", Algorithm: JWS,
		ID: []Source{"body:id"}, Type: []Source{"header:X-Netlify-Event", "body:state"}, Signs: []string{"X-Netlify-Event"},
	},
	{
		Name: "cloudflare-stream", Title: "Cloudflare Stream",
		Header: one("Webhook-Signature"), Split: ",", Prefix: "sig1=",
		Algorithm: HMACSHA256, Encoding: Hex, Content: []string{"{timestamp}.{body}"},
		Timestamp: "part:time=", Unit: Seconds, Tolerance: fiveMinutes,
		ID: []Source{"body:uid"}, Type: []Source{"body:status.state"}, Signs: []string{"Webhook-Signature=sig1="},
	},
	{
		Name: "notion", Title: "Notion",
		Header: one("X-Notion-Signature"), Prefix: "sha256=",
		Algorithm: HMACSHA256, Encoding: Hex, Content: body,
		ID: []Source{"body:id"}, Type: []Source{"body:type"}, Signs: []string{"X-Notion-Signature"}, Handshake: "notion",
	},
	{
		Name: "webflow", Title: "Webflow",
		Header: one("X-Webflow-Signature"), Algorithm: HMACSHA256, Encoding: Hex, Content: []string{"{timestamp}:{body}"},
		Timestamp: "header:X-Webflow-Timestamp", Unit: Millis, Tolerance: fiveMinutes,
		Type: []Source{"body:triggerType"}, Signs: []string{"X-Webflow-Signature"},
	},
	{
		Name: "workos", Title: "WorkOS",
		Header: one("Workos-Signature"), Split: ",", Prefix: "v1=",
		Algorithm: HMACSHA256, Encoding: Hex, Content: []string{"{timestamp}.{body}"},
		Timestamp: "part:t=", Unit: Millis, Tolerance: 3 * time.Minute,
		ID: []Source{"body:id"}, Type: []Source{"body:event"}, Signs: []string{"Workos-Signature"},
	},
	{
		Name: "mux", Title: "Mux",
		Header: one("Mux-Signature"), Split: ",", Prefix: "v1=",
		Algorithm: HMACSHA256, Encoding: Hex, Content: []string{"{timestamp}.{body}"},
		Timestamp: "part:t=", Unit: Seconds, Tolerance: fiveMinutes,
		ID: []Source{"body:id"}, Type: []Source{"body:type"}, Signs: []string{"Mux-Signature"},
	},
	{
		Name: "trello", Title: "Trello",
		Header: one("X-Trello-Webhook"), Algorithm: HMACSHA1, Encoding: Base64, Content: []string{"{body}{url}"},
		ID: []Source{"body:action.id"}, Type: []Source{"body:action.type"}, Signs: []string{"X-Trello-Webhook"}, Handshake: "head",
	},
	{
		Name: "asana", Title: "Asana",
		Header: one("X-Hook-Signature"), Algorithm: HMACSHA256, Encoding: Hex, Content: body,
		Type: []Source{"body:events.0.action"}, Signs: []string{"X-Hook-Signature", "X-Hook-Secret"}, Handshake: "asana",
	},
	{
		Name: "okta", Title: "Okta",
		Header: one("Authorization"), Algorithm: Token,
		ID: []Source{"body:eventId"}, Type: []Source{"body:data.events.0.eventType"}, Signs: []string{"X-Okta-Verification-Challenge"}, Handshake: "okta",
	},
}
