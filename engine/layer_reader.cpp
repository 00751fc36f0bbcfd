// A read is resolved into pieces first: zeros and backing bytes are served at once, data and streams are gathered and
// read in batches. Only the table cache is shared between threads; decoders and buffers are each thread's own.
#include "engine/layer_reader.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace cowvet::engine {

namespace {

constexpr std::uint64_t most_gathered = 4ULL << 20;  // bytes of streams read at once

base::Result<void> fault_at(std::uint64_t guest, std::string_view what) {
  return base::fail(base::ErrorKind::io,
                    fmt::format("guest offset {:#x} can't be read: {}; see cowvet check", guest, what));
}

std::string_view told(format::Decoded::Status status) {
  using Status = format::Decoded::Status;
  switch (status) {
    case Status::truncated: return "the compressed stream is cut";
    case Status::short_output: return "the compressed stream is too short for a cluster";
    case Status::checksum: return "the compressed stream's checksum differs";
    case Status::window_too_big: return "the compressed stream needs too much memory";
    default: return "the compressed stream is damaged";
  }
}

}  // namespace

base::Result<TablePointer> LayerReader::table(std::uint64_t l1_index) const {
  const format::L1Entry entry{l1_index < l1_.size() ? l1_[static_cast<std::size_t>(l1_index)] : 0};
  if (entry.offset().raw() == 0) return nullptr;
  if (!c_.rules.geometry.aligned(entry.offset()))
    return std::unexpected(
        fault_at(l1_index * c_.rules.geometry.span(), "its L2 table's offset is unaligned").error());
  return c_.tables->get(TableKind::l2, entry.offset());
}

base::Result<Run> LayerReader::find(std::uint64_t at, std::uint64_t most) const {
  const auto& g = c_.rules.geometry;
  const std::uint64_t span = g.span();
  auto found = table(at / span);
  if (!found) return std::unexpected(found.error());
  if (*found == nullptr) {  // as far as L1 entries lead nowhere
    std::uint64_t end = at / span + 1;
    while (end < l1_.size() && end * span - at < most &&
           format::L1Entry{l1_[static_cast<std::size_t>(end)]}.offset().raw() == 0)
      ++end;
    return Run{Source::below, std::min(most, end * span - at), {}, {}};
  }
  most = std::min(most, span - at % span);

  const std::uint64_t piece_size = c_.rules.piece_size();
  Run run{};
  constexpr std::uint64_t nowhere = ~0ULL;
  std::uint64_t first_host = nowhere;  // of the byte at `at`
  std::uint64_t next = at;
  const auto begun = [&] { return next != at; };
  while (next < at + most) {
    const std::uint64_t cluster = next & ~(g.cluster_size() - 1);
    const Slot slot = c_.rules.load(**found, (next >> g.cluster_bits()) & (g.l2_entries() - 1));
    if (const auto fault = c_.rules.fault(slot, cluster); !fault.empty()) {
      if (begun()) break;
      return std::unexpected(fault_at(next, fault).error());
    }
    if (slot.entry.compressed()) {
      if (begun()) break;
      return Run{Source::compressed, std::min(most, cluster + g.cluster_size() - next), {}, slot.entry};
    }
    const auto host = c_.rules.host(slot);
    bool ended = false;
    while (!ended && next < at + most && next < cluster + g.cluster_size()) {
      const auto piece = static_cast<std::uint32_t>((next - cluster) / piece_size);
      const Source source = c_.rules.source(slot, piece);
      const std::uint64_t place = host ? host->raw() + (next - cluster) : nowhere;
      if (!begun()) {
        run.source = source;
        first_host = place;
      }
      ended = run.source != source || place != (first_host == nowhere ? nowhere : first_host + (next - at));
      if (!ended) next = cluster + (piece + 1) * piece_size;
    }
    if (ended) break;
  }
  run.length = std::min(next - at, most);
  if (first_host != nowhere) run.host = base::HostOffset{first_host};
  return run;
}

base::Result<void> LayerReader::read_below(std::uint64_t at, base::MutableBytes into,
                                           std::uint64_t visible) const {
  const std::uint64_t end = c_.backing != nullptr ? std::min(c_.backing->size(), visible) : 0;
  const auto there = static_cast<std::size_t>(at < end ? std::min<std::uint64_t>(end - at, into.size()) : 0);
  std::ranges::fill(into.subspan(there), std::byte{0});
  if (there == 0) return {};
  return c_.backing->read(base::GuestOffset{at}, into.first(there));
}

base::Result<void> LayerReader::read(std::uint64_t at, base::MutableBytes into, std::uint64_t visible) const {
  std::vector<Piece> data;
  std::vector<Piece> streams;
  std::uint64_t gathered = 0;
  const auto serve = [&]() -> base::Result<void> {
    gathered = 0;
    if (auto done = read_data(data); !done) return done;
    if (auto done = read_compressed(streams); !done) return done;
    data.clear();
    return {};
  };
  while (!into.empty()) {
    const auto run = find(at, into.size());
    if (!run) return std::unexpected(run.error());
    const auto part = into.first(static_cast<std::size_t>(run->length));
    switch (run->source) {
      case Source::zero: std::ranges::fill(part, std::byte{0}); break;
      case Source::below:
        if (auto done = read_below(at, part, visible); !done) return done;
        break;
      case Source::data: data.push_back({at, *run, part}); break;
      case Source::compressed:
        streams.push_back({at, *run, part});
        gathered += c_.rules.geometry.compressed_range(run->entry).length();
        break;
    }
    if (gathered > most_gathered || data.size() >= 1024)
      if (auto done = serve(); !done) return done;
    at += run->length;
    into = into.subspan(part.size());
  }
  return serve();
}

base::Result<void> LayerReader::decrypt(std::uint64_t guest, std::uint64_t host,
                                        base::MutableBytes bytes) const {
  if (c_.crypt == format::CryptMethod::none) return {};
  if (c_.cipher == nullptr)
    return base::fail(base::ErrorKind::usage, "the image is encrypted: its secret is needed to read data");
  return c_.cipher->decrypt(cipher_sector(c_.crypt, guest, host), bytes);
}

base::Result<void> LayerReader::read_data(std::span<const Piece> pieces) const {
  if (pieces.empty()) return {};
  const Medium* medium = c_.rules.data_file ? c_.data : c_.image;
  if (medium == nullptr)
    return base::fail(base::ErrorKind::usage,
                      "the image keeps its data in another file, which was not opened");
  // Encrypted sectors are read whole; what the caller wants of a cut one goes through a buffer.
  constexpr std::uint64_t sector = format::limits::sector;
  const bool encrypted = c_.crypt != format::CryptMethod::none;
  std::vector<storage::ReadRequest> batch;
  std::vector<std::vector<std::byte>> whole(pieces.size());
  batch.reserve(pieces.size());
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const auto& piece = pieces[i];
    const std::uint64_t host = piece.run.host->raw();
    const std::uint64_t skip = host % sector;
    if (encrypted && (skip != 0 || piece.into.size() % sector != 0)) {
      whole[i].resize(static_cast<std::size_t>((skip + piece.into.size() + sector - 1) / sector * sector));
      batch.push_back({.offset = host - skip, .into = whole[i]});
    } else {
      batch.push_back({.offset = host, .into = piece.into});
    }
  }
  medium->device().read(batch);
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const auto& piece = pieces[i];
    if (auto good = complete(batch[i], "data cluster"); !good) return good;
    if (!encrypted) continue;
    const std::uint64_t skip = piece.run.host->raw() - batch[i].offset;
    if (auto done = decrypt(piece.guest - skip, batch[i].offset, batch[i].into); !done) return done;
    if (!whole[i].empty())
      std::ranges::copy(base::ConstBytes(whole[i]).subspan(static_cast<std::size_t>(skip), piece.into.size()),
                        piece.into.begin());
  }
  return {};
}

base::Result<void> LayerReader::read_compressed(std::vector<Piece>& pieces) const {
  const auto& g = c_.rules.geometry;
  const auto size = static_cast<std::size_t>(g.cluster_size());
  const auto copy = [&](const Piece& piece, const std::byte* cluster) {
    const auto begin = static_cast<std::size_t>(piece.guest & (g.cluster_size() - 1));
    std::ranges::copy(base::ConstBytes(cluster, size).subspan(begin, piece.into.size()), piece.into.begin());
  };
  std::erase_if(pieces, [&](const Piece& piece) {
    const auto kept = piece.into.size() == size ? nullptr : c_.streams->find(piece.run.entry.word);
    if (kept != nullptr) copy(piece, kept.get());
    return kept != nullptr;
  });
  if (pieces.empty()) return {};
  thread_local format::Decoder decoder;
  thread_local std::vector<std::byte> payloads;
  std::uint64_t total = 0;
  for (const auto& piece : pieces) total += g.compressed_range(piece.run.entry).length();
  payloads.resize(std::max<std::size_t>(payloads.size(), static_cast<std::size_t>(total)));
  std::vector<storage::ReadRequest> batch;
  batch.reserve(pieces.size());
  auto room = base::MutableBytes(payloads);
  for (const auto& piece : pieces) {
    const auto range = g.compressed_range(piece.run.entry);
    batch.push_back(
        {.offset = range.offset.raw(), .into = room.first(static_cast<std::size_t>(range.length()))});
    room = room.subspan(static_cast<std::size_t>(range.length()));
  }
  c_.image->device().read(batch);
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const auto& piece = pieces[i];
    // The last sector may lie behind the file's end: the stream itself decides whether it is whole.
    if (batch[i].os_error != 0) return complete(batch[i], "compressed cluster");
    const auto payload = batch[i].into.first(static_cast<std::size_t>(batch[i].valid));
    const bool entire = piece.into.size() == size;
    const auto cluster = entire ? nullptr : std::make_shared_for_overwrite<std::byte[]>(size);
    const auto out = entire ? piece.into : base::MutableBytes(cluster.get(), size);
    const auto decoded = decoder.decode(c_.codec, payload, out);
    if (decoded.produced != out.size() || (decoded.status != format::Decoded::Status::ok &&
                                           decoded.status != format::Decoded::Status::overlong))
      return fault_at(piece.guest, told(decoded.status));
    if (entire) continue;
    copy(piece, cluster.get());
    c_.streams->keep(piece.run.entry.word, cluster);
  }
  pieces.clear();
  return {};
}

base::Result<Extent> LayerReader::extent(std::uint64_t at, std::uint64_t most) const {
  std::optional<Extent> whole;
  for (std::uint64_t done = 0; done < most;) {
    const auto run = find(at + done, most - done);
    if (!run) {
      if (whole) break;  // the next question gets the error
      return std::unexpected(run.error());
    }
    const Extent next{.length = run->length,
                      .allocated = run->source != Source::below,
                      .zero = run->source == Source::zero,
                      .data = run->source == Source::data || run->source == Source::compressed,
                      .compressed = run->source == Source::compressed,
                      .host = run->host};
    if (!whole) {
      whole = next;
    } else {
      const auto expected = whole->host ? whole->host->plus(done) : std::nullopt;
      if (next.allocated != whole->allocated || next.zero != whole->zero ||
          next.compressed != whole->compressed || next.host != expected)
        break;
      whole->length += next.length;
    }
    done += run->length;
  }
  return *whole;
}

base::Result<bool> LayerReader::known_zero(std::uint64_t at, std::uint64_t length,
                                           std::uint64_t visible) const {
  const std::uint64_t backed = c_.backing != nullptr ? std::min(c_.backing->size(), visible) : 0;
  while (length != 0) {
    const auto run = find(at, length);
    if (!run) return std::unexpected(run.error());
    if (run->source != Source::zero && (run->source != Source::below || at < backed)) return false;
    at += run->length;
    length -= run->length;
  }
  return true;
}

}  // namespace cowvet::engine
