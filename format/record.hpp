// Fields once: a disk record is a struct with a constexpr table of its fields beside it. Decode, encode, dump, recipe
// paths, the fuzzer's mutator and docs/format.md all read that table. Promises: a gap or an overlap does not compile;
// decoding is total and lossless: encode(decode(b)) == b for any bytes.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include "base/bytes.hpp"

namespace cowvet::format {

// What a field looks like to somebody who has only bytes.
struct FieldInfo {
  std::string_view name;
  std::size_t offset;  // bytes from the record's start
  std::size_t width;   // bytes
  bool text;           // a fixed-width string rather than an integer
  std::string_view note;
};

namespace detail {

template <class T>
struct Wire {  // how a member's type lies on disk
  using raw = T;
  static constexpr std::size_t size = sizeof(T);
  static constexpr bool text = false;
};
template <class T>
  requires requires { typename T::raw_type; }
struct Wire<T> {
  using raw = typename T::raw_type;
  static constexpr std::size_t size = sizeof(raw);
  static constexpr bool text = false;
};
template <std::size_t N>
struct Wire<std::array<std::byte, N>> {
  using raw = std::array<std::byte, N>;
  static constexpr std::size_t size = N;
  static constexpr bool text = true;
};

template <class M>
struct Member;
template <class R, class T>
struct Member<T R::*> {
  using type = T;
};

}  // namespace detail

template <std::size_t Off, auto Ptr>
struct Field {
  using type = typename detail::Member<decltype(Ptr)>::type;
  using wire = detail::Wire<type>;
  static constexpr std::size_t offset = Off;
  static constexpr std::size_t size = wire::size;
  static constexpr auto ptr = Ptr;
  std::string_view name, note;

  [[nodiscard]] constexpr FieldInfo info() const { return {name, offset, size, wire::text, note}; }
};

// One row of a field table: `field<offset, &Record::member>("name", "note")`.
template <std::size_t Off, auto Ptr>
consteval Field<Off, Ptr> field(std::string_view name, std::string_view note) {
  return {name, note};
}

template <class... F>
struct RecordLayout {
  std::string_view name, spec;  // the record's name and its place in the specification
  std::tuple<F...> fields;
  std::array<FieldInfo, sizeof...(F)> infos;
  static constexpr std::size_t size = (F::size + ...);
  static consteval bool gapless() {
    std::size_t at = 0;
    return ((F::offset == std::exchange(at, at + F::size)) && ...);
  }
};

template <class... F>
consteval auto record(std::string_view name, std::string_view spec, F... fields) {
  static_assert(RecordLayout<F...>::gapless(), "fields must be contiguous and in disk order");
  return RecordLayout<F...>{name, spec, {fields...}, {fields.info()...}};
}

template <class T>
inline constexpr auto layout = nullptr;  // specialised beside each record

template <class T>
concept Record = requires { layout<T>.fields; };

template <Record T>
inline constexpr std::size_t disk_size = std::remove_cvref_t<decltype(layout<T>)>::size;

template <Record T>
[[nodiscard]] constexpr std::span<const FieldInfo> fields_of() {
  return layout<T>.infos;
}

template <Record T>
[[nodiscard]] constexpr T decode(std::span<const std::byte, disk_size<T>> bytes) {
  T r{};
  std::apply(
      [&]<class... F>(const F&...) {
        auto one = [&]<class G>(std::type_identity<G>) {
          if constexpr (G::wire::text) {
            for (std::size_t i = 0; i < G::size; ++i) (r.*G::ptr)[i] = bytes[G::offset + i];
          } else {
            r.*G::ptr = typename G::type{base::load_be<typename G::wire::raw, G::offset>(bytes)};
          }
        };
        (one(std::type_identity<F>{}), ...);
      },
      layout<T>.fields);
  return r;
}

template <Record T>
[[nodiscard]] constexpr std::array<std::byte, disk_size<T>> encode(const T& r) {
  std::array<std::byte, disk_size<T>> out{};
  std::span<std::byte, disk_size<T>> bytes{out};
  std::apply(
      [&]<class... F>(const F&...) {
        auto one = [&]<class G>(std::type_identity<G>) {
          if constexpr (G::wire::text) {
            for (std::size_t i = 0; i < G::size; ++i) bytes[G::offset + i] = (r.*G::ptr)[i];
          } else if constexpr (requires { (r.*G::ptr).raw(); }) {
            base::store_be<typename G::wire::raw, G::offset>(bytes, (r.*G::ptr).raw());
          } else {
            base::store_be<typename G::wire::raw, G::offset>(bytes, r.*G::ptr);
          }
        };
        (one(std::type_identity<F>{}), ...);
      },
      layout<T>.fields);
  return out;
}

}  // namespace cowvet::format
