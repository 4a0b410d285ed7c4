package signature

import "time"

// money are payments, shops and accounts.
var money = []Scheme{
	{
		// The secret begins with whsec_ but is used as text.
		Name: "stripe", Title: "Stripe",
		Header: one("Stripe-Signature"), Split: ",", Prefix: "v1=",
		Algorithm: HMACSHA256, Encoding: Hex, Content: []string{"{timestamp}.{body}"},
		Timestamp: "part:t=", Unit: Seconds, Tolerance: fiveMinutes,
		ID: []Source{"body:id"}, Type: []Source{"body:type"}, Signs: []string{"Stripe-Signature"},
	},
	{
		// Its other way, to ask its API, needs the app's own account.
		Name: "paypal", Title: "PayPal",
		Header: one("Paypal-Transmission-Sig"), Algorithm: RSA, Encoding: Base64, Key: WebhookID,
		Content: []string{"{id}|{timestamp}|{secret}|{crc32}"}, Cert: "header:Paypal-Cert-Url", CertDomain: "paypal.com",
		Timestamp: "header:Paypal-Transmission-Time", Unit: RFC3339, MessageID: "header:Paypal-Transmission-Id",
		ID: []Source{"body:id"}, Type: []Source{"body:event_type"}, Signs: []string{"Paypal-Transmission-Sig", "Paypal-Transmission-Id"},
	},
	{
		Name: "shopify", Title: "Shopify",
		Header: one("X-Shopify-Hmac-Sha256"), Algorithm: HMACSHA256, Encoding: Base64, Content: body,
		ID: []Source{"header:X-Shopify-Webhook-Id", "header:X-Shopify-Event-Id"}, Type: []Source{"header:X-Shopify-Topic"}, Signs: []string{"X-Shopify-Hmac-Sha256", "X-Shopify-Topic"},
	},
	{
		// Its library allows five seconds; a server that verifies on arrival can keep to that.
		Name: "paddle", Title: "Paddle",
		Header: one("Paddle-Signature"), Split: ";", Prefix: "h1=",
		Algorithm: HMACSHA256, Encoding: Hex, Content: []string{"{timestamp}:{body}"},
		Timestamp: "part:ts=", Unit: Seconds, Tolerance: 5 * time.Second,
		ID: []Source{"body:event_id", "body:notification_id"}, Type: []Source{"body:event_type"}, Signs: []string{"Paddle-Signature"},
	},
	{
		Name: "square", Title: "Square",
		Header: one("X-Square-Hmacsha256-Signature"), Algorithm: HMACSHA256, Encoding: Base64, Content: []string{"{url}{body}"},
		ID: []Source{"body:event_id"}, Type: []Source{"body:type"}, Signs: []string{"X-Square-Hmacsha256-Signature"},
	},
	{
		// Only these fields of each item are signed, not the rest of the body.
		Name: "adyen", Title: "Adyen payments",
		Each: "notificationItems.*.NotificationRequestItem", Mark: "additionalData.hmacSignature",
		Algorithm: HMACSHA256, Encoding: Base64, Key: HexKey,
		Content: []string{"{item:pspReference}:{item:originalReference}:{item:merchantAccountCode}:{item:merchantReference}:{item:amount.value}:{item:amount.currency}:{item:eventCode}:{item:success}"},
		ID:      []Source{"body:notificationItems.0.NotificationRequestItem.pspReference"}, Type: []Source{"body:notificationItems.0.NotificationRequestItem.eventCode"},
	},
	{
		Name: "adyen-platform", Title: "Adyen platform and management", Family: "adyen",
		Header: one("Hmacsignature"), Algorithm: HMACSHA256, Encoding: Base64, Key: HexKey, Content: body,
		ID: []Source{"body:data.id"}, Type: []Source{"body:type"}, Signs: []string{"Hmacsignature"},
	},
	{
		Name: "woocommerce", Title: "WooCommerce",
		Header: one("X-WC-Webhook-Signature"), Algorithm: HMACSHA256, Encoding: Base64, Key: HTMLText, Content: body,
		ID: []Source{"header:X-WC-Webhook-Delivery-ID"}, Type: []Source{"header:X-WC-Webhook-Topic"}, Signs: []string{"X-WC-Webhook-Signature", "X-WC-Webhook-Topic"},
	},
	{
		Name: "xero", Title: "Xero",
		Header: one("X-Xero-Signature"), Algorithm: HMACSHA256, Encoding: Base64, Content: body,
		Type: []Source{"body:events.0.eventType"}, Signs: []string{"X-Xero-Signature"}, Handshake: "xero",
	},
	{
		Name: "razorpay", Title: "Razorpay",
		Header: one("X-Razorpay-Signature"), Algorithm: HMACSHA256, Encoding: Hex, Content: body,
		ID: []Source{"header:X-Razorpay-Event-Id"}, Type: []Source{"body:event"}, Signs: []string{"X-Razorpay-Signature"},
	},
	{
		Name: "gocardless", Title: "GoCardless",
		Header: one("Webhook-Signature"), Algorithm: HMACSHA256, Encoding: Hex, Content: body,
		ID: []Source{"body:meta.webhook_id"}, Type: []Source{"body:events.0.action"}, Signs: []string{"User-Agent=gocardless"},
	},
}
