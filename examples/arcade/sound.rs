//! What is heard: a short tone for each thing that happens, in builds with the feature `sound`.

use bevy::prelude::*;
use bevy_iap::prelude::*;

/// What has just happened.
#[derive(Message, Clone, Copy)]
pub enum Tone {
    Jump,
    Spark,
    Crash,
    Purchase,
}

pub fn plugin(app: &mut App) {
    app.add_message::<Tone>().add_observer(|update: On<PurchaseUpdated>, mut tones: MessageWriter<Tone>| {
        if update.state == OrderState::Granted {
            tones.write(Tone::Purchase);
        }
    });
    #[cfg(feature = "sound")]
    app.add_systems(Update, play.run_if(|settings: Res<crate::screens::Settings>| settings.sound));
}

#[cfg(feature = "sound")]
fn play(mut commands: Commands, mut tones: MessageReader<Tone>, mut pitches: ResMut<Assets<Pitch>>) {
    for tone in tones.read() {
        let (hertz, milliseconds) = match tone {
            Tone::Jump => (440.0, 60),
            Tone::Spark => (1320.0, 40),
            Tone::Crash => (90.0, 350),
            Tone::Purchase => (880.0, 180),
        };
        let pitch = pitches.add(Pitch::new(hertz, std::time::Duration::from_millis(milliseconds)));
        commands.spawn((AudioPlayer(pitch), PlaybackSettings::DESPAWN));
    }
}
