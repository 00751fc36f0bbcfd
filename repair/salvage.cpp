#include "repair/salvage.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "engine/copy.hpp"
#include "engine/layer_reader.hpp"

namespace cowvet::repair {

namespace {

constexpr std::uint64_t state_chunk = 1ULL << 20;  // bytes of VM state copied at once

class Salvage {
 public:
  Salvage(const Readable& image, const SalvageOptions& options, base::Progress& progress)
      : image_(image), options_(options), progress_(progress) {}

  // `previous`: what the target shows now; null when it is new or was emptied.
  base::Result<SalvagedLayer> disk(const Layer& layer, const SalvagedLayer* previous, engine::Disk& target,
                                   engine::Qcow2Disk* compressed) {
    LayerSource source(image_.best, layer,
                       {.previous = previous != nullptr ? &previous->layer : nullptr,
                        .plain = image_.plain != &image_.best ? image_.plain : nullptr,
                        .plain_layer = image_.plain_layer(layer),
                        .below = options_.below,
                        .target_backed = options_.target_backed,
                        .earlier = options_.earlier,
                        .cipher = options_.cipher,
                        .judge = options_.judge});
    std::vector<FateRange> lost;
    engine::CopyOptions how{.jobs = options_.jobs};
    how.lost = [&](std::uint64_t at, std::uint64_t length, const std::string& why) {
      lost.push_back({at, at + length, Fate::lost, why});
    };
    engine::CopyTarget into{.disk = target, .name = "the copy"};
    into.reads_zero = previous == nullptr && !options_.target_backed && options_.earlier == nullptr;
    if (options_.compress) into.compressed = compressed;
    if (auto copied = engine::copy_disk(source, into, how, progress_); !copied)
      return std::unexpected(copied.error());
    SalvagedLayer done{.layer = layer, .map = std::move(source.map())};
    if (previous != nullptr) done.map.repaint(lost_before(*previous, source.kept()));
    done.map.repaint(lost);
    return done;
  }

  // What was lost while the layer before was copied is lost here too, where both show the same.
  static std::vector<FateRange> lost_before(const SalvagedLayer& previous,
                                            const std::vector<FateRange>& kept) {
    std::vector<FateRange> lost;
    const auto& ranges = previous.map.ranges();
    for (const auto& same : kept)
      for (auto range = std::ranges::upper_bound(ranges, same.begin, {}, &FateRange::end);
           range != ranges.end() && range->begin < same.end; ++range)
        if (range->fate == Fate::lost)
          lost.push_back(
              {std::max(range->begin, same.begin), std::min(range->end, same.end), Fate::lost, range->why});
    return lost;
  }

  base::Result<void> vm_state(SalvagedLayer& done, engine::Qcow2Disk& target) {
    const auto& layer = done.layer;
    done.vm_state = layer.end - layer.vm_state;
    PieceCursor pieces(image_.best, layer);
    std::vector<std::byte> bytes;
    for (std::uint64_t at = layer.vm_state; at < layer.end;) {
      if (progress_.stop_requested())
        return base::fail(base::ErrorKind::cancelled, "stopped: the copy is not complete");
      const auto piece = pieces.at(at);
      if (!piece) break;
      const std::uint64_t length = std::min(state_chunk, piece->length);
      bytes.assign(static_cast<std::size_t>(length), std::byte{0});
      if (const auto unread = image_.best.read(*piece, 0, bytes)) {
        std::ranges::fill(
            base::MutableBytes(bytes).subspan(static_cast<std::size_t>(unread->begin),
                                              static_cast<std::size_t>(unread->end - unread->begin)),
            std::byte{0});
        done.vm_lost += unread->end - unread->begin;
      } else if (piece->kind == Piece::Kind::data && options_.cipher != nullptr) {
        // Whole sectors: the last one may be cut by the state's end.
        const std::size_t whole = bytes.size() / format::limits::sector * format::limits::sector;
        const auto sector = engine::cipher_sector(options_.cipher->method(), at, piece->host);
        if (auto plain = options_.cipher->decrypt(sector, base::MutableBytes(bytes).first(whole)); !plain)
          return plain;
        if (whole < bytes.size()) {
          std::vector<std::byte> tail(format::limits::sector);
          Piece last = *piece;
          last.length = base::divide_up(last.length, format::limits::sector) * format::limits::sector;
          (void)image_.best.read(last, whole, tail);
          if (auto plain = options_.cipher->decrypt(sector + whole / format::limits::sector, tail); !plain)
            return plain;
          std::copy_n(tail.begin(), bytes.size() - whole, bytes.begin() + static_cast<std::ptrdiff_t>(whole));
        }
      }
      // Zeros are what is not written; the last byte says how long the state is.
      if (!base::all_zero(bytes) || at + length == layer.end)
        if (auto written = target.write_vm_state(at - layer.vm_state, bytes); !written) return written;
      at += length;
    }
    return {};
  }

  base::Result<std::vector<SalvagedLayer>> all(engine::Qcow2Disk& target) {
    std::vector<SalvagedLayer> done;
    const auto& layers = image_.best.layers();
    const SalvagedLayer* previous = nullptr;
    done.reserve(layers.size());
    for (std::size_t i = 1; i <= layers.size(); ++i) {
      const auto& layer = layers[i % layers.size()];  // the active one last
      if (previous != nullptr && options_.target_backed &&
          needs_emptying(image_.best, previous->layer, layer)) {
        if (auto emptied = target.give_up_content(); !emptied) return std::unexpected(emptied.error());
        previous = nullptr;
      }
      if (layer.size != target.size())
        if (auto resized =
                target.resize(base::round_up(layer.size, format::limits::sector).value_or(layer.size));
            !resized)
          return std::unexpected(resized.error());
      auto copied = disk(layer, previous, target, &target);
      if (!copied) return std::unexpected(copied.error());
      if (layer.entry)
        if (auto taken = take(*copied, target); !taken) return std::unexpected(taken.error());
      done.push_back(std::move(*copied));
      previous = &done.back();
    }
    std::ranges::rotate(done, done.end() - 1);  // in the order of the view
    return done;
  }

  base::Result<void> take(SalvagedLayer& copied, engine::Qcow2Disk& target) {
    const auto& entry = *copied.layer.entry;
    if (auto written = vm_state(copied, target); !written) return written;
    engine::SnapshotInfo like{.id = entry.id,
                              .name = entry.name,
                              .date_sec = entry.entry.date_sec,
                              .date_nsec = entry.entry.date_nsec,
                              .vm_clock_nsec = entry.entry.vm_clock_nsec,
                              .icount = entry.icount()};
    const auto taken_ids = target.snapshots();
    if (std::ranges::find(taken_ids, like.id, &engine::SnapshotInfo::id) != taken_ids.end()) like.id.clear();
    const auto taken = target.create_snapshot(like);
    if (!taken) return std::unexpected(taken.error());
    copied.id = taken->id;
    return {};
  }

 private:
  const Readable& image_;
  const SalvageOptions& options_;
  base::Progress& progress_;
};

}  // namespace

const Layer* Readable::plain_layer(const Layer& layer) const {
  if (plain == nullptr) return nullptr;
  if (!layer.entry) return &plain->layers().front();
  for (const auto& other : plain->layers())
    if (other.entry && other.l1 == layer.l1) return &other;
  for (const auto& other : plain->layers())
    if (other.entry && other.snapshot == layer.snapshot) return &other;
  return nullptr;
}

base::Result<SalvagedLayer> salvage_layer(const Readable& image, const Layer& layer, engine::Disk& target,
                                          engine::Qcow2Disk* compressed, const SalvageOptions& options,
                                          base::Progress& progress) {
  return Salvage(image, options, progress).disk(layer, nullptr, target, compressed);
}

base::Result<std::vector<SalvagedLayer>> salvage_all(const Readable& image, engine::Qcow2Disk& target,
                                                     const SalvageOptions& options,
                                                     base::Progress& progress) {
  return Salvage(image, options, progress).all(target);
}

}  // namespace cowvet::repair
