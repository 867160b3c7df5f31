//! The import route's part of the OpenAPI document.

use serde_json::{Value, json};

/// Path and operation of imports.
pub fn openapi_paths() -> Value {
    let text = |name: &str, description: &str| json!({"name": name, "in": "query", "required": false, "schema": {"type": "string"}, "description": description});
    let problem = |description: &str| json!({"description": description, "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}});
    json!({
        "/api/v1/families/{family_id}/imports": {"post": {
            "tags": ["imports"],
            "operationId": "import-statement",
            "summary": "Import a bank's statement file: OFX, CSV, CAMT.052/053/054 or MT940",
            "description": domain::access::route("import").who() + " The file is the body, or the first file of a form. It is booked whole or refused whole; \
                            the same file twice adds nothing.",
            "parameters": [
                {"name": "family_id", "in": "path", "required": true, "schema": {"type": "string"}},
                {"name": "Idempotency-Key", "in": "header", "required": true, "schema": {"type": "string", "format": "uuid"}},
                {"name": "account_id", "in": "query", "required": true, "schema": {"type": "string"}, "description": "The account the statement is of"},
                text("statement_account", "Which account of the file, when it holds several"),
                text("skip_broken", "true: book the other rows of a statement that does not add up for broken rows"),
                text("currency", "The currency, when neither file nor account say"),
                text("csv.delimiter", "One character, or tab"),
                text("csv.date_format", "DD/MM/YYYY, MM/DD/YYYY, YYYY-MM-DD …"),
                text("csv.decimal", "comma or point"),
                text("csv.encoding", "WHATWG label, such as windows-1252"),
                text("csv.invert_sign", "true: the file counts spending as positive"),
                text("csv.skip_lines", "Lines before the headings"),
                text("csv.columns.booked_on", "Heading or number of the booking date's column; likewise amount, debit, credit, balance, currency, counterparty, remittance, reference, category …")
            ],
            "requestBody": {"required": true, "content": {
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
                "multipart/form-data": {"schema": {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}}
            }},
            "responses": {
                "200": {"description": "Booked", "content": {"application/json": {"schema": {"type": "object", "properties": {
                    "account_id": {"type": "string"}, "import_id": {"type": "string"}, "format": {"type": "string"},
                    "rows_booked": {"type": "integer"}, "rows_known": {"type": "integer"}, "rows_categorised": {"type": "integer"}, "rows_zero": {"type": "integer"},
                    "statement": {"type": "object"}, "refused": {"type": "array", "items": {"type": "object"}}, "family_seq": {"type": "integer"}
                }}}}},
                "400": problem("Malformed"), "401": problem("Not signed in"), "403": problem("The role may not"),
                "404": problem("No such family, or not yours; no such account"), "409": problem("A key used for another request"),
                "408": problem("The file did not arrive in time"), "413": problem("The file is too large"), "422": problem("Unreadable, does not add up, or refused by a rule"),
                "429": problem("Too fast"), "503": problem("Not now")
            }
        }}
    })
}
