package signature_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/relaytunnel/relay/internal/signature"
)

// header makes a header of names and values in turn.
func header(pairs ...string) http.Header {
	h := make(http.Header)
	for i := 0; i+1 < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

func lookup(t testing.TB, name string) signature.Scheme {
	t.Helper()
	s, ok := signature.Lookup(name)
	if !ok {
		t.Fatalf("there is no scheme %q", name)
	}
	return s
}

const (
	slackExample  = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
	paddleExample = `{"data":{"id":"pri_01hsdn96k2hxjzsq5yerecdj9j","name":null,"status":"active","quantity":{"maximum":999999,"minimum":1},"tax_mode":"account_setting","product_id":"pro_01hsdn8qp7yydry3x1yeg6a9rv","unit_price":{"amount":"1000","currency_code":"USD"},"custom_data":null,"description":"testing","import_meta":null,"trial_period":null,"billing_cycle":{"interval":"month","frequency":1},"unit_price_overrides":[]},"event_id":"evt_01hsdn97563968dy0szkmgjwh3","event_type":"price.created","occurred_at":"2024-03-20T10:07:35.590857Z","notification_id":"ntf_01hsdn977e920kbgzt6r6c9rqc"}`
	hubspotBody   = `[{"eventId":531833541,"subscriptionId":3923621,"portalId":48807704,"appId":16111050,"occurredAt":1752613920733,"subscriptionType":"contact.creation","attemptNumber":0,"objectId":138017612137,"changeFlag":"CREATED","changeSource":"CRM_UI","sourceId":"userId:76023669"}]`
	sendgridBody  = `[{"email":"hello@world.com","event":"dropped","reason":"Bounced Address","sg_event_id":"ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA","sg_message_id":"LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9.0","smtp-id":"<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>","timestamp":1600112492}]` + "\r\n"
	boxBody       = `{"type":"webhook_event","webhook":{"id":"1234567890"},"trigger":"FILE.UPLOADED","source":{"id":"1234567890","type":"file","name":"Test.txt"}}`
	adyenBody     = `{"live":"false","notificationItems":[{"NotificationRequestItem":{"pspReference":"7914073381342284","originalReference":"","merchantAccountCode":"TestMerchant","merchantReference":"TestPayment-1407325143704","amount":{"value":1130,"currency":"EUR"},"eventCode":"AUTHORISATION","success":"true","additionalData":{"hmacSignature":"coqCmt/IZ4E3CzPvMY8zTjQVL5hYJUiBRg8UU+iCWo0="}}}]}`
)

// The examples that senders publish. The secrets are theirs and open nothing.
var vectors = []struct {
	from   string // who published it
	scheme string
	secret string
	at     int64 // seconds
	signature.Request
}{
	{
		"GitHub documentation, Validating webhook deliveries", "github", "It's a Secret to Everybody", 0,
		signature.Request{Header: header("X-Hub-Signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"), Body: []byte("Hello, World!")},
	},
	{
		"Slack documentation, Verifying requests from Slack", "slack", "8f742231b10e8888abcd99yyyzzz85a5", 1531420618,
		signature.Request{Header: header("X-Slack-Signature", "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503", "X-Slack-Request-Timestamp", "1531420618"), Body: []byte(slackExample)},
	},
	{
		"Standard Webhooks, tests of the reference libraries", "standard-webhooks", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", 1614265330,
		signature.Request{Header: header("Webhook-Id", "msg_p5jXN8AQM9LWM0D4loKWxJek", "Webhook-Timestamp", "1614265330", "Webhook-Signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="), Body: []byte(`{"test": 2432232314}`)},
	},
	{
		"the same under svix-… names", "svix", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", 1614265330,
		signature.Request{Header: header("Svix-Id", "msg_p5jXN8AQM9LWM0D4loKWxJek", "Svix-Timestamp", "1614265330", "Svix-Signature", "v1a,AAAA v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="), Body: []byte(`{"test": 2432232314}`)},
	},
	{
		"Twilio documentation, Validating requests", "twilio", "12345", 0,
		signature.Request{
			Method: "POST", URL: "https://mycompany.com/myapp.php?foo=1&bar=2",
			Header: header("X-Twilio-Signature", "RSOYDt4T1cUTdK1PDd93/VVr8B8=", "Content-Type", "application/x-www-form-urlencoded"),
			Body:   []byte("Digits=1234&To=%2B18005551212&From=%2B14158675309&Caller=%2B14158675309&CallSid=CA1234567890ABCDE"),
		},
	},
	{
		"sendgrid-go, helpers/eventwebhook tests", "sendgrid", "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g==", 1600112502,
		signature.Request{Header: header("X-Twilio-Email-Event-Webhook-Signature", "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15TluLtEZtM=", "X-Twilio-Email-Event-Webhook-Timestamp", "1600112502"), Body: []byte(sendgridBody)},
	},
	{
		"HubSpot documentation, Signature Version 3", "hubspot", "cfc68c0b-4b4e-4ef8-b764-95350e4ea479", 1752613922,
		signature.Request{Method: "POST", URL: "https://webhook.site/335453f5-94b3-49d9-b684-a55354d4b8df", Header: header("X-HubSpot-Signature-V3", "gbj1XPRvUt0noT7i7fXfTzOD4sLzQmf0VT28ZYq0EYg=", "X-HubSpot-Request-Timestamp", "1752613922216"), Body: []byte(hubspotBody)},
	},
	{
		"paddle-go-sdk, example_webhook_verifier_test.go", "paddle", "pdl_ntfset_01hsdn8d43dt7mezr1ef2jtbaw_hKkRiCGyyRhbFwIUuqiTBgI7gnWoV0Gr", 1710929255,
		signature.Request{Header: header("Paddle-Signature", "ts=1710929255;h1=6c05ef8fa83c44d751be6d259ec955ce5638e2c54095bf128e408e2fce1589c8"), Body: []byte(paddleExample)},
	},
	{
		"Adyen documentation, Verify HMAC signatures", "adyen", "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056", 0,
		signature.Request{Body: []byte(adyenBody)},
	},
	{
		"Notion documentation, webhooks", "notion", "secret_tMrlL1qK5vuQAh1b6cZGhFChZTSYJlce98V0pYn7yBl", 0,
		signature.Request{Header: header("X-Notion-Signature", "sha256=461e8cbcba8a75c3edd866f0e71280f5a85cbf21eff040ebd10fe266df38a735"), Body: []byte(`{"verification_token":"secret_tMrlL1qK5vuQAh1b6cZGhFChZTSYJlce98V0pYn7yBl"}`)},
	},
	{
		"box-java-sdk, WebhookValidationTest, first key", "box", "SamplePrimaryKey", 1577862000,
		signature.Request{Header: header("Box-Delivery-Timestamp", "2020-01-01T00:00:00-07:00", "Box-Signature-Primary", "6TfeAW3A1PASkgboxxA5yqHNKOwFyMWuEXny/FPD5hI=", "Box-Signature-Secondary", "v+1CD1Jdo3muIcbpv5lxxgPglOqMfsNHPV899xWYydo="), Body: []byte(boxBody)},
	},
	{
		"box-java-sdk, WebhookValidationTest, second key", "box", "SampleSecondaryKey", 1577862000,
		signature.Request{Header: header("Box-Delivery-Timestamp", "2020-01-01T00:00:00-07:00", "Box-Signature-Primary", "6TfeAW3A1PASkgboxxA5yqHNKOwFyMWuEXny/FPD5hI=", "Box-Signature-Secondary", "v+1CD1Jdo3muIcbpv5lxxgPglOqMfsNHPV899xWYydo="), Body: []byte(boxBody)},
	},
	{
		"CircleCI documentation, Validate webhooks", "circleci", "secret", 0,
		signature.Request{Header: header("Circleci-Signature", "v1=734cc62f32841568f45715aeb9f4d7891324e6d948e4c6c60c0621cdac48623a"), Body: []byte("hello world")},
	},
	{
		"CircleCI documentation, Validate webhooks", "circleci", "hunter123", 0,
		signature.Request{Header: header("Circleci-Signature", "v0=00,v1=9be2242094a9a8c00c64306f382a7f9d691de910b4a266f67bd314ef18ac49fa"), Body: []byte("an-important-request-payload")},
	},
}

func TestVerifyAgreesWithWhatSendersPublish(t *testing.T) {
	for _, v := range vectors {
		t.Run(v.scheme, func(t *testing.T) {
			s, now := lookup(t, v.scheme), time.Unix(v.at, 0)
			if err := signature.Verify(s, []string{"fake-older-secret", v.secret}, v.Request, now); err != nil {
				t.Errorf("the example of %s: %v", v.from, err)
			}
			r := v.Request
			r.Body = append([]byte("x"), r.Body...)
			if err := signature.Verify(s, []string{v.secret}, r, now); err == nil {
				t.Errorf("the example of %s verifies with another body", v.from)
			}
			if err := signature.Verify(s, []string{"fake-wrong-secret"}, v.Request, now); err == nil {
				t.Errorf("the example of %s verifies with another secret", v.from)
			}
		})
	}
}
