package signature

import "time"

// fiveMinutes is the tolerance of most libraries: long for a clock that is
// wrong, short for somebody who replays.
const fiveMinutes = 5 * time.Minute

// common are standards, and what has no name.
var common = []Scheme{
	{
		// With svix-… headers, and webhook-… ones for those who chose the standard's.
		Name: "svix", Title: "Svix", Any: []string{"svix-headers", "standard-webhooks"},
		Signs: []string{"Svix-Signature"},
	},
	{Name: "clerk", Title: "Clerk", Any: []string{"svix-headers", "standard-webhooks"}, Type: []Source{"body:type"}},
	{Name: "resend", Title: "Resend", Any: []string{"svix-headers", "standard-webhooks"}, Type: []Source{"body:type"}},
	{
		Name: "svix-headers", Title: "Svix, svix-… headers", Family: "svix",
		Header: one("Svix-Signature"), Split: " ", Prefix: "v1,",
		Algorithm: HMACSHA256, Encoding: Base64, Key: Whsec, Content: []string{"{id}.{timestamp}.{body}"},
		Timestamp: "header:Svix-Timestamp", Unit: Seconds, Tolerance: fiveMinutes, MessageID: "header:Svix-Id",
		Type: []Source{"body:type"},
	},
	{
		Name: "standard-webhooks", Title: "Standard Webhooks",
		Header: one("Webhook-Signature"), Split: " ", Prefix: "v1,",
		Algorithm: HMACSHA256, Encoding: Base64, Key: Whsec, Content: []string{"{id}.{timestamp}.{body}"},
		Timestamp: "header:Webhook-Timestamp", Unit: Seconds, Tolerance: fiveMinutes, MessageID: "header:Webhook-Id",
		Type: []Source{"body:type"}, Signs: []string{"Webhook-Timestamp"},
	},
	{
		Name: "standard-webhooks-ed25519", Title: "Standard Webhooks with a public key", Family: "standard-webhooks",
		Header: one("Webhook-Signature"), Split: " ", Prefix: "v1a,",
		Algorithm: Ed25519, Encoding: Base64, Key: PublicKey, Content: []string{"{id}.{timestamp}.{body}"},
		Timestamp: "header:Webhook-Timestamp", Unit: Seconds, Tolerance: fiveMinutes, MessageID: "header:Webhook-Id",
		Type: []Source{"body:type"},
	},
	{
		// Microsoft signs no plain notification; the state that the subscriber
		// chose comes back in each item.
		Name: "microsoft-graph", Title: "Microsoft Graph",
		Algorithm: Token, Each: "value.*", Mark: "clientState",
		ID: []Source{"body:value.0.id"}, Type: []Source{"body:value.0.changeType"}, Handshake: "graph",
	},
	{Name: "cloudevents", Title: "CloudEvents", Algorithm: None, ID: []Source{"header:Ce-Id", "body:id"}, Type: []Source{"header:Ce-Type", "body:type"}, Signs: []string{"Ce-Specversion", "Content-Type=application/cloudevents"}, Handshake: "cloudevents"},
	{Name: "token", Title: "A token in a header", Header: one("X-Token"), Algorithm: Token},
	{Name: "basic", Title: "User and password", Header: one("Authorization"), Algorithm: Basic},
	{
		Name: "hmac", Title: "HMAC in a header",
		Header: one("X-Signature"), Algorithm: HMACSHA256, Encoding: Hex, Content: body,
		ID: []Source{"header:X-Event-Id", "header:X-Request-Id", "body:id"}, Type: []Source{"header:X-Event-Type", "body:type", "body:event"},
	},
}
