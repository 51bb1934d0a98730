//! A game with the shop in a window that nobody sees: the whole engine but for a graphics card and a desktop.

use std::time::{Duration, Instant};

use bevy::a11y::{AccessibilityNode, ActionRequest};
use bevy::input::ButtonState;
use bevy::input::gamepad::{
    GamepadConnection, GamepadConnectionEvent, RawGamepadAxisChangedEvent, RawGamepadButtonChangedEvent,
    RawGamepadEvent,
};
use bevy::input::keyboard::{Key, KeyboardInput};
use bevy::input::mouse::MouseButtonInput;
use bevy::input::touch::{TouchInput, TouchPhase};
use bevy::input_focus::InputFocus;
use bevy::prelude::*;
use bevy::render::RenderPlugin;
use bevy::render::settings::{RenderCreation, WgpuSettings};
use bevy::time::TimeUpdateStrategy;
use bevy::ui::UiGlobalTransform;
use bevy::window::{CursorMoved, PrimaryWindow, WindowEvent, WindowResized, WindowResolution};
use bevy::winit::WinitPlugin;
use bevy_iap::plugin::{IapPlugin, Store};
use bevy_iap::ui::{BuyButton, Part, ShopCommand, ShopPlugin};

use crate::shop::Shop;

/// How long a frame is.
const FRAME: Duration = Duration::from_millis(20);
/// How long anything that others do may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a player sees, hears and touches.
pub struct Screen {
    pub app: App,
    pub window: Entity,
}

impl Screen {
    /// The shop, open, in English.
    pub fn open(shop: &Shop, plugin: IapPlugin) -> Self {
        let mut screen = Self::start(shop, plugin);
        screen.until("the shop is ready", |store| store.is_ready());
        screen.command(ShopCommand::Open);
        screen
    }

    /// The game, with the shop closed.
    pub fn start(shop: &Shop, plugin: IapPlugin) -> Self {
        Self::start_with_theme(shop, plugin, None)
    }

    /// The game, with the shop closed, and with a theme from a file that is followed.
    pub fn start_with_theme(shop: &Shop, plugin: IapPlugin, theme: Option<&str>) -> Self {
        let mut app = App::new();
        let window = Window { resolution: WindowResolution::new(1280, 720), ..default() };
        let nothing_to_draw_with = WgpuSettings { backends: None, ..default() };
        let engine = DefaultPlugins
            .set(WindowPlugin { primary_window: Some(window), ..default() })
            .set(RenderPlugin {
                render_creation: RenderCreation::Automatic(Box::new(nothing_to_draw_with)),
                ..default()
            })
            .set(AssetPlugin {
                file_path: shop.folder.path().join("assets").display().to_string(),
                watch_for_changes_override: Some(theme.is_some()),
                ..default()
            })
            .disable::<WinitPlugin>()
            .disable::<bevy::log::LogPlugin>();
        let shop = ShopPlugin { language: Some("en".to_owned()), theme: theme.map(str::to_owned) };
        app.add_plugins(engine)
            .add_plugins((plugin, shop))
            .insert_resource(TimeUpdateStrategy::ManualDuration(FRAME))
            .add_systems(Startup, |mut commands: Commands| {
                commands.spawn(Camera2d);
            });
        app.finish();
        app.cleanup();
        app.update();
        let window = app.world_mut().query_filtered::<Entity, With<PrimaryWindow>>().single(app.world()).expect("one");
        Self { app, window }
    }

    pub fn world(&mut self) -> &mut World {
        self.app.world_mut()
    }

    pub fn store(&self) -> &Store {
        self.app.world().resource::<Store>()
    }

    pub fn frames(&mut self, count: usize) {
        (0..count).for_each(|_| self.app.update());
    }

    /// Lets time pass, as the game's clock has it.
    pub fn pass(&mut self, time: Duration) {
        self.frames(time.as_millis().div_ceil(FRAME.as_millis()) as usize);
    }

    pub fn until(&mut self, what: &str, done: impl Fn(&Store) -> bool) {
        self.wait(what, |screen| done(screen.store()));
    }

    /// Runs frames until `done` finds what it looks for, or fails saying what was waited for.
    pub fn wait(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let started = Instant::now();
        while !done(self) {
            assert!(started.elapsed() < PATIENCE, "{what} did not happen; {:#?}", self.store());
            self.app.update();
            std::thread::sleep(Duration::from_millis(1));
        }
        self.frames(3);
    }

    pub fn command(&mut self, command: ShopCommand) {
        self.world().write_message(command);
        self.frames(3);
    }

    /// All that is written on the screen, top to bottom in the order of the tree.
    pub fn texts(&mut self) -> Vec<String> {
        let world = self.app.world_mut();
        let mut texts = world.query_filtered::<(&Text, &Node), With<bevy_iap::ui::Ink>>();
        let shown = texts.iter(world).filter(|(text, node)| node.display != Display::None && !text.0.is_empty());
        shown.map(|(text, _)| text.0.clone()).collect()
    }

    pub fn shows(&mut self, text: &str) -> bool {
        self.texts().iter().any(|shown| shown.contains(text))
    }

    pub fn assert_shows(&mut self, text: &str) {
        assert!(self.shows(text), "{text:?} is not among {:#?}", self.texts());
    }

    /// What a part says.
    pub fn part(&mut self, part: &Part) -> String {
        let world = self.app.world_mut();
        let mut parts = world.query::<(&Part, &Text)>();
        parts.iter(world).find(|(it, _)| *it == part).map(|(_, text)| text.0.clone()).unwrap_or_default()
    }

    /// The control that a screen reader calls so.
    pub fn control(&mut self, label: &str) -> Entity {
        let world = self.app.world_mut();
        let mut nodes = world.query::<(Entity, &AccessibilityNode)>();
        let called = |node: &AccessibilityNode| node.label().map(str::to_owned).unwrap_or_default();
        let found = nodes.iter(world).find(|(_, node)| called(node).starts_with(label)).map(|(entity, _)| entity);
        found.unwrap_or_else(|| panic!("nothing is called {label:?}: {:?}", self.labels()))
    }

    pub fn labels(&mut self) -> Vec<String> {
        let world = self.app.world_mut();
        let mut nodes = world.query::<&AccessibilityNode>();
        nodes.iter(world).filter_map(|node| node.label().map(str::to_owned)).collect()
    }

    pub fn buy_button(&mut self) -> Entity {
        let world = self.app.world_mut();
        world.query_filtered::<Entity, With<BuyButton>>().single(world).expect("one button buys")
    }

    /// Where something is, in logical pixels.
    pub fn place(&mut self, entity: Entity) -> Vec2 {
        let scale = self.world().get::<ComputedNode>(entity).expect("a node").inverse_scale_factor();
        self.world().get::<UiGlobalTransform>(entity).expect("a node").translation * scale
    }

    pub fn point(&mut self, at: Vec2) {
        let window = self.window;
        self.world().write_message(WindowEvent::CursorMoved(CursorMoved { window, position: at, delta: None }));
        let mut window = self.app.world_mut().get_mut::<Window>(window).expect("the window");
        window.set_cursor_position(Some(at));
        self.frames(2);
    }

    pub fn mouse(&mut self, state: ButtonState) {
        let input = MouseButtonInput { button: MouseButton::Left, state, window: self.window };
        self.world().write_message(WindowEvent::MouseButtonInput(input));
        self.world().write_message(input);
        self.frames(2);
    }

    pub fn click(&mut self, label: &str) {
        let control = self.control(label);
        let at = self.place(control);
        self.point(at);
        self.mouse(ButtonState::Pressed);
        self.mouse(ButtonState::Released);
        self.frames(2);
    }

    /// The window gets another size.
    pub fn resize(&mut self, width: f32, height: f32) {
        let window = self.window;
        self.world().get_mut::<Window>(window).expect("the window").resolution.set(width, height);
        self.world().write_message(WindowResized { window, width, height });
        self.frames(2);
    }

    pub fn touch(&mut self, phase: TouchPhase, position: Vec2) {
        let window = self.window;
        let touch = TouchInput { phase, position, window, force: None, id: 7 };
        self.world().write_message(WindowEvent::TouchInput(touch));
        self.world().write_message(touch);
        self.frames(2);
    }

    pub fn key(&mut self, key_code: KeyCode, state: ButtonState) {
        let logical_key = match key_code {
            KeyCode::Tab => Key::Tab,
            KeyCode::Enter => Key::Enter,
            _ => Key::Escape,
        };
        let window = self.window;
        let input = KeyboardInput { key_code, logical_key, state, text: None, repeat: false, window };
        self.world().write_message(input);
        self.frames(2);
    }

    pub fn press_key(&mut self, key: KeyCode) {
        self.key(key, ButtonState::Pressed);
        self.key(key, ButtonState::Released);
    }

    /// A gamepad is plugged in.
    pub fn connect_gamepad(&mut self) -> Entity {
        let gamepad = self.world().spawn_empty().id();
        let connection = GamepadConnection::Connected { name: "pad".to_owned(), vendor_id: None, product_id: None };
        let connected = GamepadConnectionEvent::new(gamepad, connection);
        self.world().write_message(connected.clone());
        self.world().write_message(RawGamepadEvent::Connection(connected));
        self.frames(3);
        gamepad
    }

    pub fn gamepad_button(&mut self, gamepad: Entity, button: GamepadButton, value: f32) {
        let changed = RawGamepadButtonChangedEvent::new(gamepad, button, value);
        self.world().write_message(changed);
        self.world().write_message(RawGamepadEvent::Button(changed));
        self.frames(2);
    }

    /// A gamepad's left stick is brought to a place: to the right and up are positive.
    pub fn left_stick(&mut self, gamepad: Entity, x: f32, y: f32) {
        for (axis, value) in [(GamepadAxis::LeftStickX, x), (GamepadAxis::LeftStickY, y)] {
            let changed = RawGamepadAxisChangedEvent::new(gamepad, axis, value);
            self.world().write_message(changed);
            self.world().write_message(RawGamepadEvent::Axis(changed));
        }
        self.frames(2);
    }

    /// What has the focus.
    pub fn focus(&self) -> Option<Entity> {
        self.app.world().resource::<InputFocus>().get()
    }

    /// What a screen reader does.
    pub fn ask(&mut self, action: accesskit::Action, target: Entity) {
        let request = accesskit::ActionRequest {
            action,
            target_tree: accesskit::TreeId::ROOT,
            target_node: accesskit::NodeId(target.to_bits()),
            data: None,
        };
        self.world().write_message(ActionRequest(request));
        self.frames(3);
    }
}
