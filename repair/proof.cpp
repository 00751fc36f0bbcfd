#include "repair/proof.hpp"

#include <algorithm>
#include <unordered_set>

#include "engine/layer_reader.hpp"
#include "repair/walk.hpp"

namespace cowvet::repair {

namespace {

constexpr std::size_t most_ranges = 4096;           // that a list keeps
constexpr std::size_t most_same_tables = 1U << 18;  // that are known to be the same
constexpr std::uint64_t proof_chunk = 1ULL << 20;   // bytes compared at once, a multiple of a sector
using Kind = Piece::Kind;

// A table's range in both images, by what the L1 entries say.
struct SamePair {
  std::uint64_t index, before, after;
  friend bool operator==(const SamePair&, const SamePair&) = default;
};
struct SamePairHash {
  std::size_t operator()(const SamePair& p) const noexcept {
    return static_cast<std::size_t>((p.index * 0x9e3779b97f4a7c15ULL ^ p.before) * 0x9e3779b97f4a7c15ULL ^
                                    p.after);
  }
};

class LayerComparison {
 public:
  LayerComparison(const View& before, const View& after, const ProofOptions& options,
                  base::Progress& progress)
      : before_(before), after_(after), options_(options), progress_(progress) {}

  base::Result<Proof> run() {
    std::vector<bool> matched(after_.layers().size());
    for (const auto& layer : before_.layers()) {
      if (const auto found = match(layer)) {
        matched[*found] = true;
        if (auto done = layers(layer, after_.layers()[*found]); !done) return std::unexpected(done.error());
      } else {
        gone(layer);
      }
    }
    for (std::size_t i = 0; i < matched.size(); ++i)
      if (!matched[i]) proof_.layers_new.push_back(after_.layers()[i].snapshot);
    return std::move(proof_);
  }

 private:
  [[nodiscard]] std::optional<std::size_t> match(const Layer& layer) const {
    const auto& all = after_.layers();
    if (layer.snapshot.empty() && !layer.entry) return 0;
    const auto find = [&](auto&& fits) -> std::optional<std::size_t> {
      const auto found = std::find_if(all.begin() + 1, all.end(), fits);
      if (found == all.end()) return std::nullopt;
      return static_cast<std::size_t>(found - all.begin());
    };
    if (auto both = find([&](const Layer& l) { return l.snapshot == layer.snapshot && l.l1 == layer.l1; }))
      return both;
    const auto same_id = [&](const Layer& l) { return l.snapshot == layer.snapshot; };
    if (const auto& old = before_.layers(); std::count_if(old.begin() + 1, old.end(), same_id) == 1)
      if (auto id = find(same_id)) return id;
    return find([&](const Layer& l) { return l.l1 == layer.l1; });
  }

  void gone(const Layer& layer) {
    bool held = false;
    before_.visit(layer, [&](const Piece& piece) {
      if (piece.kind == Kind::lost) proof_.unreadable.add(layer.snapshot, piece.begin, piece.length);
      held = held || (piece.readable() && piece.kind != Kind::unallocated);
      return true;
    });
    if (held) proof_.layers_gone.push_back(layer.snapshot);
  }

  [[nodiscard]] bool touched(std::uint64_t begin, std::uint64_t end) const {
    const auto found =
        std::ranges::upper_bound(options_.changes, begin, {}, [](const storage::Range& r) { return r.end; });
    return found != options_.changes.end() && found->begin < end;
  }

  base::Result<void> layers(const Layer& b, const Layer& a) {
    layer_ = &b;
    visible_ = std::min(b.size, a.size);
    Walk walk_b(before_, b), walk_a(after_, a);
    std::optional<Piece> piece_b, piece_a;
    const bool spans = before_.geometry() == after_.geometry();
    std::optional<SamePair> pair;
    bool clean = false;
    while (true) {
      if (progress_.stop_requested()) return base::fail(base::ErrorKind::cancelled, "stopped");
      if (!piece_b && !piece_a && spans && walk_b.position() == walk_a.position()) {
        const auto table_b = walk_b.table_ahead(), table_a = walk_a.table_ahead();
        if (table_b && table_a) {
          if (pair && clean && same_.size() < most_same_tables) same_.insert(*pair);
          const std::uint64_t index = walk_b.position() / before_.geometry().span();
          // What a table shows depends on the layer only where a disk ends in it.
          const std::uint64_t end = (index + 1) * before_.geometry().span();
          pair.reset();
          if (end <= b.size && end <= a.size) pair = SamePair{index, table_b->word, table_a->word};
          clean = true;
          if (pair && same_.contains(*pair)) {
            walk_b.skip_table();
            walk_a.skip_table();
            pair.reset();
            continue;
          }
        }
      }
      if (!piece_b) piece_b = walk_b.next();
      if (!piece_a) piece_a = walk_a.next();
      if (!piece_b && !piece_a) return {};
      if (!piece_b || !piece_a) {
        if (piece_b && piece_b->kind != Kind::unallocated && piece_b->readable()) add(proof_.lost, *piece_b);
        if (piece_a && piece_a->kind != Kind::unallocated && piece_a->readable()) improve(*piece_a);
        piece_b.reset();
        piece_a.reset();
        continue;
      }
      const std::uint64_t length = std::min(piece_b->length, piece_a->length);
      const Piece first = head(*piece_b, length), second = head(*piece_a, length);
      const std::uint64_t told = told_;
      judge(first, second);
      clean = clean && told == told_;
      drop(piece_b, length);
      drop(piece_a, length);
    }
  }

  static Piece head(Piece piece, std::uint64_t length) {
    piece.length = length;
    return piece;
  }
  static void drop(std::optional<Piece>& piece, std::uint64_t length) {
    if (piece->length == length) return piece.reset();
    piece->begin += length;
    piece->length -= length;
    if (piece->kind == Kind::data) piece->host += length;
  }
  void add(GuestRanges& ranges, const Piece& piece) { add(ranges, piece.begin, piece.length); }
  void add(GuestRanges& ranges, std::uint64_t begin, std::uint64_t length) {
    ++told_;
    ranges.add(layer_->snapshot, begin, length);
  }

  // By what a piece shows afterwards.
  void improve(const Piece& after) { improve(after.kind, after.begin, after.length); }
  void improve(Kind after, std::uint64_t begin, std::uint64_t length) {
    add(proof_.improved, begin, length);
    if (after == Kind::data || after == Kind::compressed) add(proof_.restored, begin, length);
  }

  // Two pieces of the same guest bytes.
  void judge(const Piece& b, const Piece& a) {
    if (!b.readable()) {
      if (gives_way(b, a)) return add(proof_.changed, b);
      if (a.kind == Kind::data && copied_as_it_was(b, a)) return add(proof_.unreadable, b);
      return a.readable() ? improve(a) : add(proof_.unreadable, b);
    }
    if (!a.readable()) return add(proof_.lost, b);
    if (same_source(b, a)) {
      if (!b.why.empty() && a.why.empty()) improve(a);
      return;
    }
    const bool below_b = shows_below(b), below_a = shows_below(a);
    if (below_b || below_a) return differ(b, b.begin, b.length);  // it is not known what lies below
    for (std::uint64_t at = 0; at < b.length; at += proof_chunk)
      read_both(b, a, at, std::min(proof_chunk, b.length - at));
  }

  // Whether an entry was given up, so that the layer below shows through where data was: older data than what is lost.
  // (A table that was found again may well say of a range that the layer below decides.)
  [[nodiscard]] bool gives_way(const Piece& b, const Piece& a) const {
    return shows_below(a) && (a.without_table || !b.without_table);
  }

  // Whether the guest is shown the bytes that a wrong entry led to, at another place: metadata, say. That
  // gives nothing back.
  [[nodiscard]] bool copied_as_it_was(const Piece& b, const Piece& a) {
    if (b.host == 0 || a.host == b.host) return false;
    for (std::uint64_t at = 0; at < b.length; at += proof_chunk) {
      const auto length = static_cast<std::size_t>(std::min(proof_chunk, b.length - at));
      before_bytes_.resize(length);
      after_bytes_.resize(length);
      const auto then = before_.device().read(b.host + at, before_bytes_);
      const auto now = after_.device().read(a.host + at, after_bytes_);
      if (then.os_error != 0 || then.valid < length || now.os_error != 0 || now.valid < length ||
          before_bytes_ != after_bytes_)
        return false;
    }
    return true;
  }

  void differ(const Piece& b, std::uint64_t begin, std::uint64_t length) {
    add(b.why.empty() ? proof_.changed : proof_.settled, begin, length);
  }

  [[nodiscard]] bool shows_below(const Piece& piece) const {
    return piece.kind == Kind::unallocated && before_.has_backing() && piece.begin < visible_;
  }

  [[nodiscard]] bool same_source(const Piece& b, const Piece& a) const {
    const auto nothing = [](const Piece& p) { return p.kind == Kind::zero || p.kind == Kind::unallocated; };
    if (nothing(b) && nothing(a)) return b.kind == a.kind || (!shows_below(b) && !shows_below(a));
    if (b.kind != a.kind || b.host != a.host || b.payload != a.payload) return false;
    if (b.kind == Kind::data && before_.header().external_data_file()) return true;
    return !touched(b.host, b.host + (b.kind == Kind::compressed ? b.payload : b.length));
  }

  // Plain text of what a piece stores; false when that can't be had.
  [[nodiscard]] bool content(const View& view, const Piece& piece, std::uint64_t at,
                             std::vector<std::byte>& out, std::optional<Unread>& unread) const {
    unread = view.read(piece, at, out);
    const auto crypt = static_cast<format::CryptMethod>(view.header().v2.crypt_method);
    if (piece.kind != Kind::data || crypt == format::CryptMethod::none || options_.cipher == nullptr)
      return true;
    if (out.size() % format::limits::sector != 0 || (piece.host + at) % format::limits::sector != 0)
      return false;
    return options_.cipher->decrypt(engine::cipher_sector(crypt, piece.begin + at, piece.host + at), out)
        .has_value();
  }

  // What lies in a data file that is not here can't be compared, and is not lost either.
  [[nodiscard]] static bool elsewhere(const View& view, const Piece& piece) {
    return piece.kind == Kind::data && view.data() == nullptr;
  }

  // Without the key, stored bytes say nothing of zeros, nor where the place they lie at is a part of the encryption.
  // The method is what the header says afterwards: where the plan changes it, it was a damaged field.
  [[nodiscard]] bool comparable(const Piece& b, const Piece& a) const {
    using format::CryptMethod;
    if (elsewhere(before_, b) || elsewhere(after_, a)) return false;
    const std::uint32_t crypt = after_.header().v2.crypt_method;
    if (crypt == 0 || options_.cipher != nullptr) return true;
    const bool by_place = crypt != static_cast<std::uint32_t>(CryptMethod::aes);
    return b.kind == a.kind && (!by_place || b.host == a.host);
  }

  void read_both(const Piece& b, const Piece& a, std::uint64_t at, std::uint64_t length) {
    const std::uint64_t guest = b.begin + at;
    before_bytes_.resize(static_cast<std::size_t>(length));
    after_bytes_.resize(static_cast<std::size_t>(length));
    std::optional<Unread> unread_b, unread_a;
    if (!comparable(b, a) || !content(before_, b, at, before_bytes_, unread_b) ||
        !content(after_, a, at, after_bytes_, unread_a))
      return differ(b, guest, length);
    for (const auto& unread : {unread_b, unread_a}) {
      if (!unread) continue;
      const auto hide = [&](std::vector<std::byte>& bytes) {
        std::ranges::fill(
            base::MutableBytes(bytes).subspan(static_cast<std::size_t>(unread->begin),
                                              static_cast<std::size_t>(unread->end - unread->begin)),
            std::byte{0});
      };
      hide(before_bytes_);
      hide(after_bytes_);
    }
    if (unread_a && !unread_b) add(proof_.lost, guest + unread_a->begin, unread_a->end - unread_a->begin);
    if (unread_b && unread_a)
      add(proof_.unreadable, guest + unread_b->begin, unread_b->end - unread_b->begin);
    else if (unread_b)
      improve(a.kind, guest + unread_b->begin, unread_b->end - unread_b->begin);
    if (before_bytes_ != after_bytes_) return tell_differences(b, guest);
    if (!unread_a && !unread_b && !b.why.empty() && a.why.empty()) improve(a.kind, guest, length);
  }

  // By the sector.
  void tell_differences(const Piece& b, std::uint64_t guest) {
    constexpr std::size_t sector = format::limits::sector;
    for (std::size_t at = 0; at < before_bytes_.size(); at += sector) {
      const std::size_t length = std::min(sector, before_bytes_.size() - at);
      const auto part = [&](const std::vector<std::byte>& bytes) {
        return base::ConstBytes(bytes).subspan(at, length);
      };
      if (!std::ranges::equal(part(before_bytes_), part(after_bytes_))) differ(b, guest + at, length);
    }
  }

  const View& before_;
  const View& after_;
  const ProofOptions& options_;
  base::Progress& progress_;
  const Layer* layer_ = nullptr;  // of `before`
  std::uint64_t visible_ = 0;     // where the layer below is not seen any more
  std::uint64_t told_ = 0;        // ranges so far
  std::unordered_set<SamePair, SamePairHash> same_;
  std::vector<std::byte> before_bytes_, after_bytes_;
  Proof proof_;
};

}  // namespace

void GuestRanges::add(const std::string& snapshot, std::uint64_t begin, std::uint64_t length) {
  bytes += length;
  if (!list.empty() && list.back().snapshot == snapshot &&
      list.back().begin.raw() + list.back().length == begin) {
    list.back().length += length;
    return;
  }
  if (list.size() < most_ranges) list.push_back({base::GuestOffset{begin}, length, snapshot});
}

base::Result<Proof> compare(const View& before, const View& after, const ProofOptions& options,
                            base::Progress& progress) {
  return LayerComparison(before, after, options, progress).run();
}

}  // namespace cowvet::repair
