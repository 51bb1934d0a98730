# 상점의 한국어 문구.

shop-title = 상점
shop-purchases = 구매 내역
shop-all = 전체
shop-other = 기타
shop-close = 닫기
shop-back = 뒤로
shop-details = { $title }. { $price }. { $owned }

buy-hold = 길게 눌러 구매
buy-again = 한 번 더 누르면 { $price }에 구매합니다
buy-label = { $title } 구매, { $price }. 길게 눌러 확인하세요.

owned = 보유 중
owned-provisional = 보유 중 (영수증 대기)
owned-quantity = { $count }개 남음
owned-for = { $time } 남음
time-days = { $count }일
time-hours = { $count }시간
time-minutes = { $count ->
    [0] 1분 미만
   *[other] { $count }분
}
highlighted = 추천

balance = { $available }
balance-held = { $available } · { $held } 보류
balance-held-offline = { $available } · 오프라인용 { $held } 보류
balance-held-partly = { $available } · { $held } 보류 (오프라인 { $offline })
balance-owed = 갚을 금액 { $owed }
balance-unknown = 아직 확인되지 않음

step-queued = 대기
step-sent = 전송
step-receipt = 영수증

progress-placed = 주문을 저장하는 중 …
progress-queued = 이 기기에 안전하게 저장했습니다. 연결되는 대로 보냅니다.
progress-queued-offline = 이 기기에 안전하게 저장했습니다. 오프라인 상태이며, 다시 연결되면 보냅니다.
progress-queued-browser = 이 브라우저에 저장했습니다. 보낼 때까지 브라우저 데이터를 지우거나 시크릿 창을 닫지 마세요.
progress-queued-memory = 게임을 닫을 때까지만 저장되며, 연결되면 보냅니다.
progress-sent = 보냈습니다. 영수증을 기다리는 중 …
progress-slow = 아직 응답이 없습니다. 주문은 안전하며 저절로 계속됩니다. 게임을 계속하고 나중에 구매 내역을 확인하세요.
progress-pending = 보호자 등의 승인이 필요합니다. 그 전에는 요금이 청구되지 않습니다. 게임을 계속해도 됩니다.
progress-granted = 구매했습니다. 영수증을 확인했습니다.
progress-provisional = 바로 사용할 수 있습니다. 영수증은 나중에 도착합니다.
progress-provisional-browser = 바로 사용할 수 있습니다. 영수증이 올 때까지 브라우저 데이터를 지우거나 시크릿 창을 닫지 마세요.
progress-declined = 구매하지 못했습니다: { $reason }. 요금은 청구되지 않았습니다.
progress-refunded = 지갑으로 환불되었습니다.
progress-revoked = 회수되었습니다: { $reason }.
progress-unverified = 응답을 신뢰할 수 없습니다. 지급된 것은 없습니다. 게임을 업데이트하고 다시 주문하세요.
progress-not-saved = 구매하지 못했습니다: 여기에 저장할 수 없었습니다. 요금은 청구되지 않았습니다. 공간을 확보하거나 게임을 다시 시작한 뒤 다시 시도하세요.

reason-insufficient-funds = 지갑의 잔액이 부족합니다. 충전한 뒤 다시 시도하세요
reason-unknown-product = 더 이상 판매하지 않는 상품입니다. 게임을 업데이트하세요
reason-price-mismatch = 가격이 상점과 다릅니다. 게임을 업데이트하세요
reason-stale-catalog = 가격이 바뀌었습니다. 게임을 업데이트하세요
reason-already-owned = 이미 보유하고 있습니다
reason-quantity-out-of-range = 이 수량으로는 구매할 수 없습니다
reason-chain-broken = 저장 데이터가 복사되었거나 되돌려졌습니다. 다시 구매하세요
reason-device-frozen = 이 기기에는 판매가 중지되었습니다. 고객 지원에 문의하세요
reason-operator = 상점의 결정입니다. 고객 지원에 문의하세요
reason-refunded-in-part = 일부가 환불되었습니다
reason-moved = 다른 기기와 함께 옮겨졌습니다
reason-other = 이 버전에서 알 수 없는 이유입니다

state-placed = 저장 중
state-queued = 대기 중
state-sent = 전송됨
state-pending = 승인 대기
state-granted = 구매함
state-declined = 거절됨
state-refunded = 환불됨
state-revoked = 회수됨
state-unverified = 확인 불가
state-not-saved = 저장 안 됨

refused-already-owned = 이미 보유하고 있습니다.
refused-already-ordered = 이미 주문했습니다. 구매 내역을 확인하세요.
refused-double-tap = 방금 주문했습니다. 하나 더 사려면 다시 누르세요.
refused-device-revoked = 이 기기는 계정에서 제거되어 구매할 수 없습니다.
refused-not-sold = { $currency }(으)로는 판매하지 않습니다.
refused-not-ready = 상점을 여는 중입니다. 잠시 후 다시 시도하세요.
refused-read-only = 여기서는 구매할 수 없습니다: { $reason }
refused-failed = 상점을 열 수 없습니다: { $reason }
refused-busy = 저장할 것이 많습니다. 잠시 후 다시 시도하세요.
refused-other = 구매하지 못했습니다: { $reason }

banner-offline = 오프라인입니다. { $count ->
    [0] 구매한 것은 보관했다가 나중에 보냅니다.
   *[other] 주문 { $count }건이 대기 중이며 다시 연결되면 보냅니다.
}
banner-retrying = 연결되지 않았습니다. { $count ->
    [0] 구매한 것은 보관했다가 나중에 보냅니다.
   *[other] 주문 { $count }건이 대기 중이며 저절로 보냅니다.
}
banner-no-server = 이 게임에는 상점 서버가 설정되지 않았습니다. 주문은 보관되지만 보내지 않습니다.
banner-read-only = 볼 수는 있지만 구매할 수 없습니다: { $reason }
banner-revoked = 이 기기는 계정에서 제거되었습니다. 구매할 수 없습니다.
banner-failed = 상점을 열 수 없습니다: { $reason }
banner-stale = 새 상품 목록에 오류가 있어 이전 목록을 보여 드립니다: { $reason }

loading-title = 상점을 불러오는 중 …
loading-slow = 시간이 오래 걸립니다. 게임 파일이 온전한지 확인하거나 나중에 다시 시도하세요.
failed-title = 상품을 불러올 수 없습니다
failed-next = 게임의 오류이며 요금은 청구되지 않았습니다. 제작자에게 알려 주세요:
empty-title = 판매 중인 상품이 없습니다
empty-group = 여기에는 상품이 없습니다. 전체를 선택하세요.
empty-next = { $currency }(으)로 판매하는 상품이 없습니다.
history-empty = 아직 구매한 것이 없습니다.
history-account = 계정: { $account }
history-receipt = 영수증 { $receipt }
history-no-receipt = 아직 영수증 없음
history-copy = 영수증 복사
history-copied = 복사했습니다
history-not-copied = 클립보드를 사용할 수 없습니다: { $reason }
history-older = 이전 구매는 저널에 보관됩니다.

announce-order = { $title }: { $outcome }

number-decimal = .
number-group = ,
money = { $symbol }{ $amount }
money-negative = -{ $symbol }{ $amount }
money-coded = { $amount } { $symbol }
symbol-EUR = €
symbol-USD = US$
symbol-GBP = £
symbol-JPY = JP¥
symbol-KRW = ₩
symbol-CNY = CN¥
