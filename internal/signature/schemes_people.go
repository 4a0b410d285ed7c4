package signature

import "time"

// people are chat, mail, telephone, video, customers and documents.
var people = []Scheme{
	{
		Name: "slack", Title: "Slack",
		Header: one("X-Slack-Signature"), Prefix: "v0=",
		Algorithm: HMACSHA256, Encoding: Hex, Content: []string{"v0:{timestamp}:{body}"},
		Timestamp: "header:X-Slack-Request-Timestamp", Unit: Seconds, Tolerance: fiveMinutes,
		ID: []Source{"body:event_id", "body:trigger_id", "form:trigger_id"}, Type: []Source{"body:event.type", "body:type", "form:command"},
		Signs: []string{"X-Slack-Signature"}, Handshake: "slack",
	},
	{
		Name: "discord", Title: "Discord",
		Header: one("X-Signature-Ed25519"), Algorithm: Ed25519, Encoding: Hex, Key: PublicKey, Content: []string{"{timestamp}{body}"},
		Timestamp: "header:X-Signature-Timestamp",
		ID:        []Source{"body:id"}, Type: []Source{"body:event.type", "body:type"}, Signs: []string{"X-Signature-Ed25519"}, Handshake: "discord",
	},
	{
		// The sender takes the port out of some addresses and leaves it in others.
		Name: "twilio", Title: "Twilio",
		Header: one("X-Twilio-Signature"), Algorithm: HMACSHA1, Encoding: Base64,
		Content: []string{"{url}{form}", "{url:noport}{form}", "{url:port}{form}"}, BodyHash: "query:bodySHA256",
		ID:   []Source{"header:I-Twilio-Idempotency-Token", "form:MessageSid", "form:CallSid"},
		Type: []Source{"form:EventType", "form:MessageStatus", "form:SmsStatus", "form:CallStatus"}, Signs: []string{"X-Twilio-Signature"},
	},
	{
		Name: "sendgrid", Title: "SendGrid",
		Header: one("X-Twilio-Email-Event-Webhook-Signature"), Algorithm: ECDSA, Encoding: Base64, Key: PublicKey, Content: []string{"{timestamp}{body}"},
		Timestamp: "header:X-Twilio-Email-Event-Webhook-Timestamp",
		ID:        []Source{"body:0.sg_event_id"}, Type: []Source{"body:0.event"}, Signs: []string{"X-Twilio-Email-Event-Webhook-Signature"},
	},
	{
		// The time and a random token are signed, not the rest of the body.
		Name: "mailgun", Title: "Mailgun",
		Each: "signature", Mark: "signature", Algorithm: HMACSHA256, Encoding: Hex, Content: []string{"{item:timestamp}{item:token}"},
		ID: []Source{"body:event-data.id", "body:signature.token"}, Type: []Source{"body:event-data.event"},
	},
	{
		Name: "mandrill", Title: "Mailchimp Transactional (Mandrill)",
		Header: one("X-Mandrill-Signature"), Algorithm: HMACSHA1, Encoding: Base64, Content: []string{"{url}{form}"},
		Signs: []string{"X-Mandrill-Signature"}, Handshake: "head",
	},
	{
		Name: "postmark", Title: "Postmark",
		Header: one("Authorization"), Algorithm: Basic,
		ID: []Source{"body:MessageID"}, Type: []Source{"body:RecordType"}, Signs: []string{"User-Agent=postmark"},
	},
	{
		Name: "zoom", Title: "Zoom",
		Header: one("X-Zm-Signature"), Prefix: "v0=",
		Algorithm: HMACSHA256, Encoding: Hex, Content: []string{"v0:{timestamp}:{body}"},
		Timestamp: "header:X-Zm-Request-Timestamp", Unit: Seconds, Tolerance: fiveMinutes,
		Type: []Source{"body:event"}, Signs: []string{"X-Zm-Signature"}, Handshake: "zoom",
	},
	{
		Name: "line", Title: "LINE",
		Header: one("X-Line-Signature"), Algorithm: HMACSHA256, Encoding: Base64, Content: body,
		ID: []Source{"body:events.0.webhookEventId"}, Type: []Source{"body:events.0.type"}, Signs: []string{"X-Line-Signature"},
	},
	{
		Name: "telegram", Title: "Telegram",
		Header: one("X-Telegram-Bot-Api-Secret-Token"), Algorithm: Token,
		ID: []Source{"body:update_id"}, Signs: []string{"X-Telegram-Bot-Api-Secret-Token"},
	},
	{
		Name: "twitch", Title: "Twitch EventSub",
		Header: one("Twitch-Eventsub-Message-Signature"), Prefix: "sha256=",
		Algorithm: HMACSHA256, Encoding: Hex, Content: []string{"{id}{timestamp}{body}"},
		Timestamp: "header:Twitch-Eventsub-Message-Timestamp", Unit: RFC3339, Tolerance: 10 * time.Minute, MessageID: "header:Twitch-Eventsub-Message-Id",
		Type: []Source{"header:Twitch-Eventsub-Subscription-Type"}, Signs: []string{"Twitch-Eventsub-Message-Signature"}, Handshake: "twitch",
	},
	{
		Name: "x", Title: "X (Twitter)",
		Header: one("X-Twitter-Webhooks-Signature"), Prefix: "sha256=",
		Algorithm: HMACSHA256, Encoding: Base64, Content: body,
		Signs: []string{"X-Twitter-Webhooks-Signature"}, Handshake: "x",
	},
	{
		Name: "intercom", Title: "Intercom",
		Header: one("X-Hub-Signature"), Prefix: "sha1=", Algorithm: HMACSHA1, Encoding: Hex, Content: body,
		ID: []Source{"body:id"}, Type: []Source{"body:topic"}, Signs: []string{"User-Agent=intercom"}, Handshake: "head",
	},
	{
		Name: "zendesk", Title: "Zendesk",
		Header: one("X-Zendesk-Webhook-Signature"), Algorithm: HMACSHA256, Encoding: Base64, Content: []string{"{timestamp}{body}"},
		Timestamp: "header:X-Zendesk-Webhook-Signature-Timestamp", Unit: RFC3339, Tolerance: fiveMinutes,
		ID: []Source{"header:X-Zendesk-Webhook-Invocation-Id", "body:id"}, Type: []Source{"body:type"}, Signs: []string{"X-Zendesk-Webhook-Signature"},
	},
	{
		// The versions are apart: version 1 and 2 are plain hashes, which whoever
		// knows one signed request can lengthen, so they are not taken unasked.
		Name: "hubspot", Title: "HubSpot",
		Header: one("X-HubSpot-Signature-V3"), Algorithm: HMACSHA256, Encoding: Base64,
		Content:   []string{"{method}{url}{body}{timestamp}", "{method}{url:decoded}{body}{timestamp}"},
		Timestamp: "header:X-HubSpot-Request-Timestamp", Unit: Millis, Tolerance: fiveMinutes,
		ID: []Source{"body:0.eventId"}, Type: []Source{"body:0.subscriptionType"}, Signs: []string{"X-HubSpot-Signature-V3"},
	},
	{
		Name: "hubspot-v2", Title: "HubSpot, version 2", Family: "hubspot",
		Header: one("X-HubSpot-Signature"), Algorithm: SHA256, Encoding: Hex, Content: []string{"{secret}{method}{url}{body}"},
		ID: []Source{"body:0.eventId"}, Type: []Source{"body:0.subscriptionType"}, Signs: []string{"X-HubSpot-Signature-Version=v2"},
	},
	{
		Name: "hubspot-v1", Title: "HubSpot, version 1", Family: "hubspot",
		Header: one("X-HubSpot-Signature"), Algorithm: SHA256, Encoding: Hex, Content: []string{"{secret}{body}"},
		ID: []Source{"body:0.eventId"}, Type: []Source{"body:0.subscriptionType"}, Signs: []string{"X-HubSpot-Signature-Version=v1"},
	},
	{
		Name: "calendly", Title: "Calendly",
		Header: one("Calendly-Webhook-Signature"), Split: ",", Prefix: "v1=",
		Algorithm: HMACSHA256, Encoding: Hex, Content: []string{"{timestamp}.{body}"},
		Timestamp: "part:t=", Unit: Seconds, Tolerance: 3 * time.Minute,
		Type: []Source{"body:event"}, Signs: []string{"Calendly-Webhook-Signature"},
	},
	{
		Name: "typeform", Title: "Typeform",
		Header: one("Typeform-Signature"), Prefix: "sha256=",
		Algorithm: HMACSHA256, Encoding: Base64, Content: body,
		ID: []Source{"body:event_id"}, Type: []Source{"body:event_type"}, Signs: []string{"Typeform-Signature"},
	},
	{
		// One header for each active key.
		Name: "docusign", Title: "DocuSign Connect",
		Header: one("X-Docusign-Signature-*"), Algorithm: HMACSHA256, Encoding: Base64, Content: body,
		Type: []Source{"body:event"}, Signs: []string{"X-Docusign-Signature-1"},
	},
	{
		Name: "dropbox", Title: "Dropbox",
		Header: one("X-Dropbox-Signature"), Algorithm: HMACSHA256, Encoding: Hex, Content: body,
		Signs: []string{"X-Dropbox-Signature"}, Handshake: "challenge",
	},
	{
		// Two keys, each with its header, so that one can be changed at a time.
		Name: "box", Title: "Box",
		Header: []string{"Box-Signature-Primary", "Box-Signature-Secondary"}, Algorithm: HMACSHA256, Encoding: Base64, Content: []string{"{body}{timestamp}"},
		Timestamp: "header:Box-Delivery-Timestamp", Unit: RFC3339, Tolerance: 10 * time.Minute,
		ID: []Source{"header:Box-Delivery-Id", "body:id"}, Type: []Source{"body:trigger"}, Signs: []string{"Box-Signature-Primary", "Box-Delivery-Id"},
	},
	{Name: "strava", Title: "Strava", Algorithm: None, ID: []Source{"body:object_id"}, Type: []Source{"body:aspect_type"}, Handshake: "strava", Token: true},
	{Name: "mailchimp", Title: "Mailchimp", Algorithm: None, Type: []Source{"form:type"}, Signs: []string{"User-Agent=mailchimp"}, Handshake: "head"},
	{
		// GitHub's header, so it comes last of all that have it.
		Name: "meta", Title: "Meta (Facebook, Instagram, WhatsApp)",
		Header: one("X-Hub-Signature-256"), Prefix: "sha256=",
		Algorithm: HMACSHA256, Encoding: Hex, Content: body,
		ID: []Source{"body:entry.0.changes.0.value.messages.0.id"}, Type: []Source{"body:entry.0.changes.0.field", "body:object"},
		Signs: []string{"User-Agent=facebook", "X-Hub-Signature-256"}, Handshake: "hub", Token: true,
	},
}
