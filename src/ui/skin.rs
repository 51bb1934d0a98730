//! What the theme makes of boxes and texts: every length, colour and font of the shop is set here and nowhere else.

use bevy::input_focus::{InputFocus, InputFocusVisible};
use bevy::picking::hover::Hovered;
use bevy::prelude::*;
use bevy::ui::{InteractionDisabled, Pressed};
use bevy::window::PrimaryWindow;

use super::ShopSettings;
use super::theme::Theme;

/// A box, by what it is for.
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq)]
#[require(Node, BackgroundColor, BorderColor)]
pub enum Skin {
    /// Lies over the game.
    Veil,
    /// The ground of the shop.
    Panel,
    /// Things in a row that goes on below where it is too long.
    Row,
    /// Things in a column.
    Column,
    /// A card that can be pressed.
    Card,
    /// The same, put before the others.
    HighlightedCard,
    /// A field that holds something.
    Field,
    /// The field of one product.
    Page,
    /// Something that can be pressed.
    Button,
    /// The same, chosen.
    Chosen,
    /// The button that the page is for.
    Main,
    /// A short remark with an edge.
    Chip,
    /// A sentence that is to be seen.
    Banner,
    /// What grows in a button while it is held.
    Progress,
    /// Something that turns while it waits.
    Spinner,
    /// A lamp of an order's way.
    Lamp(Tone),
    /// A product's picture.
    Picture,
}

/// A text, by what it is for.
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq)]
#[require(TextLayout = TextLayout::linebreak(LineBreak::WordOrCharacter), Text, TextFont, TextColor)]
pub struct Ink {
    /// How large.
    pub size: Size,
    /// How it is meant.
    pub tone: Tone,
}

/// How large a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// A remark.
    Small,
    /// Like most.
    Body,
    /// A price or a name.
    Large,
    /// A heading.
    Title,
}

/// How something is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// Just so.
    #[default]
    Plain,
    /// It matters less.
    Quiet,
    /// It can be pressed, or is a price.
    Accent,
    /// It is on the accent's ground.
    OnAccent,
    /// It went well.
    Good,
    /// It is to be known.
    Warning,
    /// It went wrong.
    Bad,
}

impl Ink {
    /// A text of this size and meaning.
    pub const fn new(size: Size, tone: Tone) -> Self {
        Self { size, tone }
    }
}

/// How wide the shop gets at most, and the field of one product.
const PANEL: f32 = 1_040.0;
const PAGE: f32 = 560.0;

/// How large the shop is in its window.
#[derive(Resource, Clone, Copy, Debug, PartialEq)]
pub(super) struct Fit {
    /// Logical pixels for one of the theme.
    pub(super) scale: f32,
    /// The same for text.
    pub(super) text: f32,
}

impl Default for Fit {
    fn default() -> Self {
        Self { scale: 1.0, text: 1.0 }
    }
}

impl Fit {
    /// The smallest and largest that the shop gets by the window alone.
    const SCALES: (f32, f32) = (0.7, 4.0);

    /// The fit for a window of this size.
    pub(super) fn to(size: Vec2, settings: &ShopSettings) -> Self {
        let scale = (size.x / 1280.0).min(size.y / 720.0).clamp(Self::SCALES.0, Self::SCALES.1);
        Self { scale, text: scale * settings.text_scale.clamp(0.75, 2.0) }
    }
}

/// The font that comes with the shop.
#[derive(Resource, Clone, Debug, Default)]
pub(super) struct ShopFont(pub(super) Handle<Font>);

/// Follows the window and the settings.
pub(super) fn fit(windows: Query<&Window, With<PrimaryWindow>>, settings: Res<ShopSettings>, mut fit: ResMut<Fit>) {
    let Ok(window) = windows.single() else { return };
    fit.set_if_neq(Fit::to(window.size(), &settings));
}

/// What a box is made of.
struct Made {
    ground: Color,
    edge: Color,
    thick: f32,
    padding: (f32, f32),
    radius: f32,
    gap: f32,
}

impl Skin {
    fn made(self, theme: &Theme) -> Made {
        let Theme { colors: c, space, radius, border, .. } = theme;
        let (space, radius, border) = (*space, *radius, *border);
        let plain =
            Made { ground: Color::NONE, edge: Color::NONE, thick: 0.0, padding: (0.0, 0.0), radius, gap: space };
        match self {
            Self::Veil => Made { ground: c.veil, padding: (space, space), radius: 0.0, ..plain },
            Self::Panel => Made {
                ground: c.panel,
                edge: c.edge,
                thick: border,
                padding: (space, space),
                radius: 1.6 * radius,
                ..plain
            },
            Self::Row | Self::Column | Self::Picture => plain,
            Self::Card => {
                Made { ground: c.card, edge: c.edge, thick: border, padding: (space, space), gap: space / 2.0, ..plain }
            }
            Self::HighlightedCard => Made {
                ground: c.card,
                edge: c.accent,
                thick: border,
                padding: (space, space),
                gap: space / 2.0,
                ..plain
            },
            Self::Field | Self::Page => Made { ground: c.card, padding: (space, space), gap: space / 2.0, ..plain },
            Self::Button => {
                Made { ground: c.card, edge: c.edge, thick: border, padding: (1.2 * space, 0.6 * space), ..plain }
            }
            Self::Chosen => {
                Made { ground: c.card, edge: c.accent, thick: border, padding: (1.2 * space, 0.6 * space), ..plain }
            }
            Self::Main => {
                Made { ground: c.card, edge: c.accent, thick: border, padding: (2.0 * space, space), ..plain }
            }
            Self::Chip => Made {
                ground: c.panel,
                edge: c.edge,
                thick: border / 2.0,
                padding: (space / 2.0, space / 6.0),
                ..plain
            },
            Self::Banner => {
                Made { ground: c.card, edge: c.warning, thick: border, padding: (space, 0.6 * space), ..plain }
            }
            Self::Progress => Made { ground: c.accent.with_alpha(0.45), gap: 0.0, ..plain },
            Self::Spinner => Made { edge: c.accent, thick: 1.5 * border, radius: 10_000.0, ..plain },
            Self::Lamp(tone) => {
                let ground = if tone == Tone::Quiet { Color::NONE } else { tone.color(theme) };
                Made { ground, edge: tone.color(theme), thick: border, radius: 10_000.0, ..plain }
            }
        }
    }

    fn can_be_pressed(self) -> bool {
        matches!(self, Self::Card | Self::HighlightedCard | Self::Button | Self::Chosen | Self::Main)
    }
}

impl Tone {
    fn color(self, theme: &Theme) -> Color {
        let c = &theme.colors;
        match self {
            Self::Plain => c.text,
            Self::Quiet => c.quiet,
            Self::Accent => c.accent,
            Self::OnAccent => c.on_accent,
            Self::Good => c.good,
            Self::Warning => c.warning,
            Self::Bad => c.bad,
        }
    }
}

/// What the look of a box depends on.
type Dressed<'a> = (
    &'a Skin,
    Ref<'a, Skin>,
    Option<Ref<'a, Hovered>>,
    Has<Pressed>,
    Has<InteractionDisabled>,
    &'a mut Node,
    &'a mut BackgroundColor,
    &'a mut BorderColor,
);

/// What is pressed, or cannot be any more, since a moment.
type JustChanged = Or<(Added<Pressed>, Added<InteractionDisabled>)>;

/// Gives boxes the lengths and colours of the theme.
pub(super) fn dress_boxes(
    theme: Res<Theme>,
    fit: Res<Fit>,
    mut boxes: Query<Dressed<'_>>,
    mut unpressed: RemovedComponents<Pressed>,
    mut enabled: RemovedComponents<InteractionDisabled>,
    changed: Query<(), JustChanged>,
) {
    let all = theme.is_changed() || fit.is_changed();
    let any = unpressed.read().count() + enabled.read().count() > 0 || !changed.is_empty();
    for (skin, changed, hovered, is_pressed, is_disabled, mut node, mut ground, mut edge) in &mut boxes {
        let is_hovered = hovered.as_ref().is_some_and(|hovered| hovered.get());
        let hover_changed = hovered.is_some_and(|hovered| hovered.is_changed());
        if !(all || any || changed.is_changed() || hover_changed) {
            continue;
        }
        let made = skin.made(&theme);
        let lit = skin.can_be_pressed() && (is_hovered || is_pressed) && !is_disabled;
        let fill = if lit { theme.colors.hovered } else { made.ground };
        let line = match (lit, is_disabled) {
            (_, true) => theme.colors.edge,
            (true, _) => theme.colors.accent,
            _ => made.edge,
        };
        ground.set_if_neq(BackgroundColor(fill));
        let lines = match skin {
            Skin::Spinner => BorderColor { top: line, ..BorderColor::all(line.with_alpha(0.2)) },
            _ => BorderColor::all(line),
        };
        edge.set_if_neq(lines);
        let mut wanted = node.clone();
        wanted.border = px(made.thick * fit.scale).all();
        wanted.padding = UiRect::axes(px(made.padding.0 * fit.scale), px(made.padding.1 * fit.scale));
        wanted.border_radius = BorderRadius::all(px(made.radius * fit.scale));
        (wanted.column_gap, wanted.row_gap) = (px(made.gap * fit.scale), px(made.gap * fit.scale));
        let square = |side: f32| (px(side * fit.text), px(side * fit.text));
        match skin {
            Skin::Card | Skin::HighlightedCard => wanted.width = px(theme.card * fit.scale.max(0.8 * fit.text)),
            Skin::Panel => wanted.max_width = px(PANEL * fit.scale.max(fit.text)),
            Skin::Page => {
                // This way round, since how high it is is measured before it is made narrower.
                (wanted.width, wanted.max_width) = (percent(100), px(PAGE * fit.scale.max(0.8 * fit.text)));
            }
            Skin::Spinner => (wanted.width, wanted.height) = square(theme.text.body),
            Skin::Lamp(_) => (wanted.width, wanted.height) = square(theme.text.small * 0.8),
            Skin::Picture => (wanted.width, wanted.height) = square(theme.text.title * 2.0),
            _ => {}
        }
        node.set_if_neq(wanted);
    }
}

/// Gives texts the fonts, sizes and colours of the theme.
pub(super) fn dress_texts(
    theme: Res<Theme>,
    fit: Res<Fit>,
    own: Res<ShopFont>,
    server: Option<Res<AssetServer>>,
    mut texts: Query<(&Ink, Ref<Ink>, &mut TextFont, &mut TextColor)>,
) {
    let all = theme.is_changed() || fit.is_changed();
    let mut font = None;
    for (ink, changed, mut face, mut color) in &mut texts {
        if !(all || changed.is_changed()) {
            continue;
        }
        let size = match ink.size {
            Size::Small => theme.text.small,
            Size::Body => theme.text.body,
            Size::Large => theme.text.large,
            Size::Title => theme.text.title,
        };
        let font = font.get_or_insert_with(|| match (&theme.font, &server) {
            (Some(path), Some(server)) => server.load(path.clone()),
            _ => own.0.clone(),
        });
        face.set_if_neq(TextFont { font: font.clone().into(), ..TextFont::from_font_size(size * fit.text) });
        color.set_if_neq(TextColor(ink.tone.color(&theme)));
    }
}

/// Draws the ring around what has the focus.
pub(super) fn show_focus(
    mut commands: Commands,
    theme: Res<Theme>,
    fit: Res<Fit>,
    focus: Res<InputFocus>,
    visible: Res<InputFocusVisible>,
    skinned: Query<(), With<Skin>>,
    ringed: Query<Entity, (With<Outline>, With<Skin>)>,
) {
    let now = focus.get().filter(|entity| visible.0 && skinned.contains(*entity));
    for entity in ringed.iter().filter(|entity| Some(*entity) != now) {
        commands.entity(entity).remove::<Outline>();
    }
    if let Some(entity) = now {
        let width = theme.border.max(2.0) * 1.5 * fit.scale;
        commands.entity(entity).insert(Outline::new(px(width), px(width), theme.colors.focus));
    }
}

/// Turns what waits.
pub(super) fn turn(
    time: Res<Time>,
    theme: Res<Theme>,
    settings: Res<ShopSettings>,
    mut spinners: Query<(&mut UiTransform, &Node), With<super::Spinner>>,
) {
    if settings.reduced_motion || theme.turn <= 0.0 {
        return;
    }
    for (mut transform, _) in spinners.iter_mut().filter(|(_, node)| node.display != Display::None) {
        let turned = Rot2::turn_fraction(time.elapsed_secs() / theme.turn % 1.0);
        transform.set_if_neq(UiTransform::from_rotation(turned));
    }
}
