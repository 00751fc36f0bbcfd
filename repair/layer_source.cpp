#include "repair/layer_source.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "engine/layer_reader.hpp"

namespace cowvet::repair {

namespace {

using RunKind = engine::CopyRun::Kind;

constexpr std::uint64_t most_weight = 4ULL << 20;  // of a run
constexpr std::uint64_t under_way = 128ULL << 20;  // bytes told that may still be read

// What is not stored, and reads as zeros unless something lies below.
bool empty(const Piece& piece) { return piece.kind == Piece::Kind::zero || piece.kind == Piece::Kind::lost; }

}  // namespace

std::optional<Piece> PieceCursor::at(std::uint64_t at) {
  while (!piece_ || piece_->end() <= at) {
    piece_ = walk_.next();
    if (!piece_) return std::nullopt;
  }
  Piece piece = *piece_;
  const std::uint64_t skip = at - piece.begin;
  piece.begin = at;
  piece.length -= skip;
  if (piece.kind == Piece::Kind::data) piece.host += skip;
  return piece;
}

bool same_place(const Piece& a, const Piece& b) {
  if (a.kind != b.kind) return false;
  const bool placed = a.kind == Piece::Kind::data || a.kind == Piece::Kind::compressed;
  return !placed || (a.host == b.host && a.payload == b.payload);
}

bool needs_emptying(const View& view, const Layer& previous, const Layer& layer) {
  PieceCursor before(view, previous), now(view, layer);
  const std::uint64_t end = std::min(previous.size, layer.size);
  for (std::uint64_t at = 0; at < end;) {
    const auto b = before.at(at), n = now.at(at);
    if (!b || !n) return false;
    if (n->kind == Piece::Kind::unallocated && b->kind != Piece::Kind::unallocated) return true;
    at = std::min(b->end(), n->end());
  }
  return false;
}

LayerSource::LayerSource(const View& view, const Layer& layer, const LayerOptions& options)
    : view_(view), layer_(layer), options_(options), pieces_(view, layer) {
  if (options_.previous != nullptr) previous_.emplace(view, *options_.previous);
  if (options_.plain != nullptr && options_.plain_layer != nullptr)
    plain_.emplace(*options_.plain, *options_.plain_layer);
}

RunKind LayerSource::kind_of(const Piece& piece, const Piece* previous) const {
  const bool copied = options_.below != nullptr;
  const auto zeros = [&](const Piece& p) {
    return empty(p) || (p.kind == Piece::Kind::unallocated && !copied && !options_.target_backed);
  };
  if (previous == nullptr) {  // the target shows its backing file, or zeros
    if (zeros(piece)) return options_.target_backed ? RunKind::zero : RunKind::kept;
  } else {
    if (same_place(piece, *previous)) return RunKind::kept;
    if (zeros(piece)) return zeros(*previous) ? RunKind::kept : RunKind::zero;
  }
  return piece.kind == Piece::Kind::unallocated && !copied ? RunKind::kept : RunKind::data;
}

void LayerSource::note(const Piece& piece, const Piece* plain, bool kept) {
  if (kept && options_.previous != nullptr) {
    if (!kept_.empty() && kept_.back().end == piece.begin)
      kept_.back().end = piece.end();
    else
      kept_.push_back({piece.begin, piece.end()});
  }
  if (piece.kind == Piece::Kind::lost) return map_.append(piece.length, Fate::lost, piece.why);
  if (!piece.why.empty()) return map_.append(piece.length, Fate::inferred, piece.why);
  if (options_.plain != nullptr) {
    if (plain == nullptr)
      return map_.append(piece.length, Fate::inferred, "its layer was found by inference");
    const bool same = same_place(piece, *plain) && plain->why.empty();
    if (!same)
      return map_.append(piece.length, Fate::inferred,
                         plain->why.empty() ? "the metadata was put right by inference" : plain->why);
  }
  const bool below =
      piece.kind == Piece::Kind::unallocated && view_.has_backing() && options_.below == nullptr;
  map_.append(piece.length, below ? Fate::below : Fate::certain);
}

LayerSource::Told LayerSource::tell(std::uint64_t at) {
  auto piece = pieces_.at(at);
  if (!piece)  // there is always one below the size
    piece =
        Piece{.begin = at, .length = layer_.size - at, .kind = Piece::Kind::lost, .why = "it is not mapped"};
  if (options_.judge) piece = options_.judge(*piece);
  std::uint64_t end = std::min(piece->end(), layer_.size);
  std::optional<Piece> previous, plain;
  if (previous_ && at < options_.previous->size) {
    previous = previous_->at(at);
    if (previous) end = std::min(end, std::min(previous->end(), options_.previous->size));
  } else if (previous_) {  // the target grew: zeros
    previous = Piece{.begin = at, .length = layer_.size - at, .kind = Piece::Kind::zero};
  }
  if (plain_) plain = plain_->at(at);
  if (plain) end = std::min(end, plain->end());
  const FateRange* earlier = options_.earlier != nullptr ? &options_.earlier->at(at) : nullptr;
  if (earlier != nullptr) end = std::min(end, earlier->end);
  piece->length = end - at;
  // Space that a repair in memory took behind the end of the file holds nothing of what was cut off there.
  if (plain && plain->kind == Piece::Kind::lost && piece->kind == Piece::Kind::data &&
      piece->host >= options_.plain->data_end()) {
    piece->kind = Piece::Kind::lost;
    piece->why = plain->why;
  }
  if (earlier != nullptr && earlier->fate == Fate::lost && piece->kind == Piece::Kind::unallocated &&
      options_.target_backed) {
    piece->kind = Piece::Kind::lost;
    piece->why = "the earlier copy has zeros over what lies below: salvage anew to have it";
  }
  RunKind kind = kind_of(*piece, previous ? &*previous : nullptr);
  if (earlier != nullptr && earlier->fate != Fate::lost) {
    kind = RunKind::kept;
    if (piece->kind == Piece::Kind::lost) {  // read by then
      map_.append(piece->length, Fate::certain);
      return {.piece = *piece, .kind = kind};
    }
  }
  note(*piece, plain ? &*plain : nullptr, kind == RunKind::kept);
  return {.piece = *piece, .kind = kind};
}

base::Result<engine::CopyRun> LayerSource::run(std::uint64_t at, std::uint64_t most) {
  while (horizon_ <= at) {
    Told next = tell(horizon_);
    const std::scoped_lock lock(mutex_);
    horizon_ = next.piece.end();
    if (!told_.empty()) next.weight = told_.back().weight + std::min(told_.back().piece.length, most_weight);
    told_.push_back(next);
    while (told_.back().weight - told_.front().weight > under_way) told_.pop_front();
  }
  const auto found = std::ranges::upper_bound(told_, at, {}, [](const Told& t) { return t.piece.end(); });
  return engine::CopyRun{found->kind, std::min(most, found->piece.end() - at)};
}

base::Result<void> LayerSource::read_piece(const Piece& piece, std::uint64_t at,
                                           base::MutableBytes into) const {
  if (piece.kind == Piece::Kind::unallocated && options_.below != nullptr) {
    const std::uint64_t size = options_.below->size();
    const auto there =
        static_cast<std::size_t>(at < size ? std::min<std::uint64_t>(size - at, into.size()) : 0);
    std::ranges::fill(into.subspan(there), std::byte{0});
    return there == 0 ? base::Result<void>{} : options_.below->read(base::GuestOffset{at}, into.first(there));
  }
  if (empty(piece)) {
    std::ranges::fill(into, std::byte{0});
    return {};
  }
  if (const auto unread = view_.read(piece, at - piece.begin, into))
    return base::fail(base::ErrorKind::io, unread->why);
  if (piece.kind != Piece::Kind::data || options_.cipher == nullptr) return {};
  const std::uint64_t host = piece.host + (at - piece.begin);
  return options_.cipher->decrypt(engine::cipher_sector(options_.cipher->method(), at, host), into);
}

base::Result<void> LayerSource::read(std::uint64_t at, base::MutableBytes into) const {
  while (!into.empty()) {
    Piece piece;
    {
      const std::scoped_lock lock(mutex_);
      piece = std::ranges::upper_bound(told_, at, {}, [](const Told& t) { return t.piece.end(); })->piece;
    }
    const auto part =
        into.first(static_cast<std::size_t>(std::min<std::uint64_t>(into.size(), piece.end() - at)));
    if (auto done = read_piece(piece, at, part); !done) return done;
    at += part.size();
    into = into.subspan(part.size());
  }
  return {};
}

}  // namespace cowvet::repair
