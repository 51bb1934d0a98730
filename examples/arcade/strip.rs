//! The strip along the lower edge: the way of each of the last orders, from the device to the verified receipt.
//!
//! Its texts are made once. When an order comes further, what they say and how they are lit is set anew.

mod flash;
mod way;

use bevy::prelude::*;
use bevy_iap::prelude::*;
use flash::Flashing;
use way::Way;

use crate::look::{QUIET, panel, say, text};
use crate::palette::{CREAM, CYAN, DEEP_NIGHT, GOLD};
use crate::shop::title;

/// How many orders are shown, the newest first.
const ROWS: usize = 5;
const STEPS: [&str; 3] = ["QUEUED", "SENT", "RECEIPT VERIFIED"];
const EXPLANATION: &str = "signed on this device, safe on its disk, settled by the store's server";

/// One text of the strip.
#[derive(Component, Clone, Copy)]
struct Cell {
    row: usize,
    column: Column,
}

#[derive(Clone, Copy)]
enum Column {
    Product,
    Amount,
    /// A step, as a lamp.
    Step(usize),
    /// The way that leads to a step.
    To(usize),
    Remark,
}

/// What a cell says and how it is lit.
struct Face {
    said: String,
    tone: Color,
    fill: Color,
    edge: Color,
}

/// Keeps the strip in step with the store.
pub fn plugin(app: &mut App) {
    app.add_plugins(flash::plugin)
        .add_systems(Startup, spawn)
        .add_systems(Update, refresh.run_if(resource_changed::<Store>));
}

fn spawn(mut commands: Commands) {
    let strip = Node {
        position_type: PositionType::Absolute,
        left: px(24),
        right: px(24),
        bottom: px(42),
        flex_direction: FlexDirection::Column,
        row_gap: px(3),
        padding: UiRect::axes(px(16), px(8)),
        border: px(2).all(),
        border_radius: BorderRadius::all(px(12)),
        ..default()
    };
    commands.spawn((strip, panel(CYAN), GlobalZIndex(1))).with_children(|strip| {
        let heading = Node { column_gap: px(14), align_items: AlignItems::End, ..default() };
        let title = text("LAST ORDERS", 15.0, Color::WHITE);
        strip.spawn((heading, children![title, text(EXPLANATION, 13.0, QUIET)]));
        for row in 0..ROWS {
            let line = Node {
                height: px(23),
                column_gap: px(10),
                align_items: AlignItems::Center,
                overflow: Overflow::clip(),
                border_radius: BorderRadius::all(px(6)),
                ..default()
            };
            strip.spawn((Flashing::at(row), line)).with_children(|line| {
                line.spawn(plain(Cell { row, column: Column::Product }, px(190)));
                line.spawn(plain(Cell { row, column: Column::Amount }, px(150)));
                for step in 0..STEPS.len() {
                    if step > 0 {
                        line.spawn(plain(Cell { row, column: Column::To(step) }, auto()));
                    }
                    line.spawn(lamp(Cell { row, column: Column::Step(step) }));
                }
                line.spawn(plain(Cell { row, column: Column::Remark }, auto()));
            });
        }
    });
}

fn plain(cell: Cell, width: Val) -> impl Bundle {
    let node = Node { width, flex_shrink: 0.0, ..default() };
    (cell, node, text("", 15.0, CREAM), TextLayout::no_wrap(), BackgroundColor::DEFAULT, BorderColor::DEFAULT)
}

fn lamp(cell: Cell) -> impl Bundle {
    let node = Node {
        padding: UiRect::axes(px(10), px(1)),
        border: px(1).all(),
        border_radius: BorderRadius::MAX,
        flex_shrink: 0.0,
        ..default()
    };
    (cell, node, text("", 13.0, QUIET), TextLayout::no_wrap(), BackgroundColor::DEFAULT, BorderColor::DEFAULT)
}

fn refresh(
    store: Res<Store>,
    mut cells: Query<(&Cell, &mut Text, &mut TextColor, &mut BackgroundColor, &mut BorderColor)>,
) {
    let orders: Vec<_> = store.orders().rev().take(ROWS).map(|order| (order, Way::of(order))).collect();
    for (cell, mut text, mut color, mut ground, mut border) in &mut cells {
        let face = match orders.get(cell.row) {
            Some((order, way)) => face(&store, order, way, cell.column),
            None => plain_face(String::new(), Color::NONE),
        };
        say(&mut text, face.said);
        color.set_if_neq(TextColor(face.tone));
        ground.set_if_neq(BackgroundColor(face.fill));
        border.set_if_neq(BorderColor::all(face.edge));
    }
}

fn face(store: &Store, order: &PlacedOrder, way: &Way, column: Column) -> Face {
    match column {
        Column::Product if order.quantity > 1 => {
            plain_face(format!("{} x{}", title(store, &order.product), order.quantity), CREAM)
        }
        Column::Product => plain_face(title(store, &order.product), CREAM),
        Column::Amount => plain_face(order.total.to_string(), GOLD),
        Column::Step(step) => {
            let said = STEPS[step].to_owned();
            match way.steps[step] {
                Some(light) => Face { said, tone: DEEP_NIGHT, fill: light, edge: light },
                None => Face { said, tone: QUIET.with_alpha(0.7), fill: Color::NONE, edge: QUIET.with_alpha(0.35) },
            }
        }
        Column::To(step) => plain_face(">".to_owned(), way.steps[step].unwrap_or(QUIET.with_alpha(0.5))),
        Column::Remark => plain_face(way.remark.clone(), way.tone),
    }
}

fn plain_face(said: String, tone: Color) -> Face {
    Face { said, tone, fill: Color::NONE, edge: Color::NONE }
}
