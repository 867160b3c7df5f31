//! Clients: each asks for one thing at a time, asks again with the same key until it knows, sometimes at two workers at once.

use service_kit::problem::Problem;

use crate::world::{Answer, Flight, World};

/// One sending of an order.
pub(crate) struct Submission {
    pub(crate) order: usize,
    client: usize,
    /// The family's head when it was sent.
    from_head: i64,
    /// What was acknowledged in the family before the order was first sent.
    floor: i64,
}

/// One client.
#[derive(Default)]
pub(crate) struct Client {
    order: Option<usize>,
    floor: i64,
    /// Sent and not answered.
    open: Vec<usize>,
}

impl Client {
    pub(crate) fn is_busy(&self) -> bool {
        self.order.is_some()
    }
}

impl World {
    /// A client asks for something, asks again, or gives up waiting.
    pub(crate) fn client_acts(&mut self) -> u64 {
        let number = self.chance.below(self.clients.len());
        let client = &self.clients[number];
        match (client.order, client.open.len()) {
            (None, _) if self.is_calm => 7,
            (None, _) => {
                self.order_something(number);
                8
            }
            (Some(_), 0) => {
                self.submit(number);
                9
            }
            (Some(_), open) => {
                if open < 3 && self.chance.per_mille(30) {
                    // The same at another worker, while the first still thinks.
                    self.submit(number);
                } else if self.chance.per_mille(20) {
                    self.clients[number].open.clear();
                }
                10
            }
        }
    }

    fn order_something(&mut self, number: usize) {
        let at = self.chance.below(self.households.len());
        let head = self.log.family_head(self.households[at].family_id);
        let household = &mut self.households[at];
        let founding = household.founding(at).filter(|_| !household.is_setting_up);
        let order = match founding {
            Some(order) => {
                household.is_setting_up = true;
                order
            }
            None => household.daily(&mut self.chance, head),
        };
        self.take_up(number, order);
    }

    fn take_up(&mut self, number: usize, order: crate::households::Order) {
        let floor = self.oracle.floor(order.family_id);
        self.orders.push(order);
        self.clients[number] = Client {
            order: Some(self.orders.len() - 1),
            floor,
            open: Vec::new(),
        };
        self.submit(number);
    }

    fn submit(&mut self, number: usize) {
        let client = &self.clients[number];
        let Some(order) = client.order else { return };
        let submission = self.submissions.len();
        self.submissions.push(Submission {
            order,
            client: number,
            from_head: self.log.family_head(self.orders[order].family_id),
            floor: client.floor,
        });
        self.clients[number].open.push(submission);
        let worker = self.chance.below(self.workers.len());
        // A request may be lost on its way.
        if !self.strikes(20) {
            self.flights.push(Flight::Submit { submission, worker });
        }
    }

    pub(crate) fn client_hears(&mut self, submission: usize, answer: Answer) {
        let Submission {
            order: number,
            client,
            from_head,
            floor,
        } = self.submissions[submission];
        let order = self.orders[number].clone();
        let is_waited_for = self.clients[client].order == Some(number);
        self.clients[client].open.retain(|open| *open != submission);
        match &answer {
            Ok(receipt) => {
                let held = self.oracle.accepted(number, &order, receipt, floor);
                self.must(held);
            }
            Err(problem) if is_unknown(problem) => return,
            Err(problem) => {
                let heads = (from_head, self.log.family_head(order.family_id));
                let held = self.oracle.refuse(number, &order, problem.code(), heads);
                self.must(held);
            }
        }
        if !is_waited_for {
            return;
        }
        if let Some((household, step)) = order.sets_up {
            let household = &mut self.households[household];
            if answer.is_ok() && step >= household.set_up {
                household.set_up = step + 1;
                household.is_setting_up = false;
            } else if answer.is_err() {
                self.violated(format!("{} is refused: {answer:?}", order.command.name()));
            }
        }
        if answer.is_ok() && !self.is_calm && self.chance.per_mille(80) {
            // Once more, as a client does that has lost its memory.
            return;
        }
        self.clients[client].order = None;
        if answer.is_ok() && self.strikes(30) {
            let household = self.households.iter().find(|h| h.family_id == order.family_id);
            if let Some(other) = household.map(|household| household.reusing(&order)) {
                self.take_up(client, other);
            }
        }
    }
}

/// Does the client know no more than before? Then it asks again.
fn is_unknown(problem: &Problem) -> bool {
    matches!(problem.code(), "unavailable" | "too-fast" | "lost-race")
}
