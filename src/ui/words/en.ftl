# The shop's texts in English.

shop-title = Shop
shop-purchases = Purchases
shop-all = Everything
shop-other = More
shop-close = Close
shop-back = Back
shop-details = { $title }. { $price }. { $owned }

buy-hold = Hold to buy
buy-again = Press once more to buy for { $price }
buy-label = Buy { $title } for { $price }. Hold to confirm.

owned = Yours
owned-provisional = Yours, until the receipt comes
owned-quantity = { $count ->
    [0] None left
   *[other] { $count } left
}
owned-for = Yours for { $time }
time-days = { $count ->
    [one] { $count } day
   *[other] { $count } days
}
time-hours = { $count ->
    [one] { $count } hour
   *[other] { $count } hours
}
time-minutes = { $count ->
    [0] less than a minute
    [one] { $count } minute
   *[other] { $count } minutes
}
highlighted = Recommended

balance = { $available }
balance-held = { $available } · { $held } held
balance-held-offline = { $available } · { $held } held for offline
balance-held-partly = { $available } · { $held } held, { $offline } of it for offline
balance-owed = You owe { $owed }
balance-unknown = Not heard yet

step-queued = Queued
step-sent = Sent
step-receipt = Receipt

progress-placed = Writing your order to the disk …
progress-queued = Safe on this device. It is sent as soon as there is a connection.
progress-queued-offline = Safe on this device. You are offline: it is sent when you are back.
progress-queued-browser = Queued in this browser. Until it is sent, do not clear the browser's data or close a private window.
progress-queued-memory = Queued until the game is closed, and sent when there is a connection.
progress-sent = Sent. Waiting for the receipt …
progress-slow = No answer yet. Your order is safe and goes on by itself: play on, and look under Purchases later.
progress-pending = Somebody has to approve this, for example a parent. Nothing is charged before. You can go on playing.
progress-granted = It is yours. The receipt is verified.
progress-provisional = It is yours already. The receipt follows.
progress-provisional-browser = It is yours. Until the receipt comes, do not clear the browser's data or close a private window.
progress-declined = Not bought: { $reason }. Nothing was charged.
progress-refunded = Paid back to your wallet.
progress-revoked = Taken back: { $reason }.
progress-unverified = The answer could not be believed. Nothing was given; update the game and order again.
progress-not-saved = Not bought: it could not be saved here. Nothing was charged. Free some room, or start the game anew, and try again.

reason-insufficient-funds = there is not enough in your wallet; add money and try again
reason-unknown-product = the store does not sell this any more; update the game
reason-price-mismatch = the price was not the store's; update the game
reason-stale-catalog = the price has changed; update the game
reason-already-owned = it is yours already
reason-quantity-out-of-range = it cannot be bought in this quantity
reason-chain-broken = this save was copied or put back; buy again
reason-device-frozen = this device is not sold anything; ask the game's support
reason-operator = the store decided so; ask the game's support
reason-refunded-in-part = a part was paid back
reason-moved = it moved here with another device
reason-other = the store gave no reason that this version knows

state-placed = Being saved
state-queued = Queued
state-sent = Sent
state-pending = Waiting for approval
state-granted = Bought
state-declined = Declined
state-refunded = Refunded
state-revoked = Taken back
state-unverified = Not believed
state-not-saved = Not saved

refused-already-owned = This is yours already.
refused-already-ordered = This is ordered already. Look under Purchases.
refused-double-tap = This was just ordered. Press again to buy another.
refused-device-revoked = This device was removed from its account, so nothing can be bought with it.
refused-not-sold = This is not sold in { $currency }.
refused-not-ready = The shop is still opening. Try again in a moment.
refused-read-only = Nothing can be bought here: { $reason }
refused-failed = The shop could not be opened: { $reason }
refused-busy = Too much is being written. Try again in a moment.
refused-other = Not bought: { $reason }

banner-offline = Offline. { $count ->
    [0] What you buy is kept and sent later.
    [one] One order is queued and sent when you are back.
   *[other] { $count } orders are queued and sent when you are back.
}
banner-retrying = No connection. { $count ->
    [0] What you buy is kept and sent later.
    [one] One order is queued and sent by itself.
   *[other] { $count } orders are queued and sent by themselves.
}
banner-no-server = This game has no store server set. Orders are kept, and not sent.
banner-read-only = You can look, but not buy: { $reason }
banner-revoked = This device was removed from its account. Nothing can be bought with it.
banner-failed = The shop could not be opened: { $reason }
banner-stale = The new catalogue was refused, so you see the last good one: { $reason }

loading-title = Loading the shop …
loading-slow = This takes long. Check that the game's files are complete, or close the shop and try later.
failed-title = The shop's products could not be loaded
failed-next = This is a mistake in the game, and nothing was charged. Tell its makers:
empty-title = Nothing is for sale
empty-group = Nothing in here. Choose Everything.
empty-next = There is no product with a price in { $currency }.
history-empty = You have bought nothing yet.
history-account = Your account: { $account }
history-receipt = Receipt { $receipt }
history-no-receipt = no receipt yet
history-copy = Copy receipt
history-copied = Copied
history-not-copied = The clipboard cannot be reached: { $reason }
history-older = Older purchases are kept in the journal.

announce-order = { $title }: { $outcome }

number-decimal = .
number-group = ,
money = { $symbol }{ $amount }
money-negative = -{ $symbol }{ $amount }
money-coded = { $amount } { $symbol }
symbol-EUR = €
symbol-USD = $
symbol-GBP = £
symbol-JPY = ¥
symbol-KRW = ₩
symbol-CNY = CN¥
