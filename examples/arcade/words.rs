//! What the game says, in English and in Korean. What the shop says, it says by itself.

use bevy_iap::ui::Words;

const KOREAN: [(&str, &str); 17] = [
    ("NEON DUSK", "네온 더스크"),
    ("Space jumps, B opens the shop, O goes offline and back", "스페이스: 점프, B: 상점, O: 오프라인 전환"),
    ("Run", "달리기"),
    ("Run again", "다시 달리기"),
    ("Shop", "상점"),
    ("Settings", "설정"),
    ("Back", "뒤로"),
    ("Best", "최고 기록"),
    ("CRASHED", "충돌!"),
    ("Language: English", "언어: 한국어"),
    ("Text size", "글자 크기"),
    ("Reduced motion", "움직임 줄이기"),
    ("Sound", "소리"),
    ("on", "켬"),
    ("off", "끔"),
    ("needs --features sound", "--features sound 필요"),
    ("A shield is back: another device had used it already.", "방패가 돌아왔어요. 다른 기기에서 먼저 썼어요."),
];

/// A text of the game in the player's language: in Korean, and else as it is.
pub fn said(words: &Words, english: &'static str) -> &'static str {
    let is_korean = words.language().starts_with("ko");
    let found = KOREAN.iter().find(|(text, _)| is_korean && *text == english);
    found.map_or(english, |(_, korean)| korean)
}
