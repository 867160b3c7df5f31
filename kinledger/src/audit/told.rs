//! What an operator reads of a family, its parents read in the family's trail: that it was read, when, and in which form.
//!
//! It is written down before anything is given out, and when it cannot be, nothing is: in a database that takes no writes, or with a
//! login that may not step down to identity's role. Who holds the database itself can read it in other ways, and delete what this
//! wrote; what is promised is that this program is none of them.

use anyhow::{Context, Result};
use command_api::identity::security_events::{self, Kind, SecurityEvent};
use domain::id::FamilyId;
use service_kit::database::{self, DatabaseRole};

use crate::keys::Ledger;

/// What an operator is told otherwise.
const REFUSED: &str = "nothing is given out: what an operator reads of a family is told to its parents first, and it cannot be \
    written into their trail";

/// Writes down that the family's books are given out, in a word of the trail's closed list.
pub(super) async fn tell_family(ledger: &Ledger, family: FamilyId, form: &'static str) -> Result<()> {
    let event = SecurityEvent::about_family(Kind::Exported, family)
        .with("by", "operator")
        .with("format", form);
    let identities = database::connect(&ledger.url, DatabaseRole::Identity, 1)
        .await
        .context(REFUSED)?;
    let told = security_events::record(&identities, event).await;
    identities.close().await;
    told.context(REFUSED)
}
